"""What every service needs to live: settings, life cycle, back-off, health, metrics, logs."""
