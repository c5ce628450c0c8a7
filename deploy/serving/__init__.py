"""Models for other programs: KServe's protocol over HTTP, and repositories for the model servers that exist."""
