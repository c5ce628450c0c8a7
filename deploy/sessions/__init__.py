"""The engines: a module each, with `load`, which opens an artifact as a Session."""
