"""A camera's faces, live: capture, finding, tracking, judging, sending, and the page."""
