"""How fast Fairprice is, as ratios that hold on any machine; README.md tells how to read them."""
