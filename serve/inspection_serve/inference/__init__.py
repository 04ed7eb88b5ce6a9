"""The inference service, speaking the Open Inference Protocol."""
