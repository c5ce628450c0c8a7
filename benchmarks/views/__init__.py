"""A report for people: table, Markdown, page, charts, thumbnails."""
