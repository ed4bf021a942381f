"""What people look at: charts, reports, and artifacts and events in Prefect."""
