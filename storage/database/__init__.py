"""The database product: engines, migrations, locks, bulk inserts, backups. Nothing here knows the source."""
