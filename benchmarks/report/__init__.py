"""What was measured: the report's data, its schema, and how it is read and written."""
