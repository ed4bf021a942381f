"""The day's work as plain functions: ingest, forecast, score, train, judge, watch. Nothing here imports Prefect."""
