"""The kernel over HTTP: OpenAI's API, and processes for programs."""
