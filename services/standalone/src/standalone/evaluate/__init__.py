"""Which estimator tells more than the mid does, and whether that can be shown: `standalone evaluate`."""
