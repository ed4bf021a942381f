"""Ordered changes of the schema, applied by Alembic from inside the package; see `storage.database.migrate`."""
