"""Random faults for minutes or hours against two crawlers and what stands behind them: `make soak`."""
