"""What is served over HTTP: the inference service and the pages."""
