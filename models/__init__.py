"""Pure numerics: candles in, forecasts out. No Prefect, no SQLAlchemy, no HTTP."""
