"""Files of trained models: model files in safetensors, and ONNX models for other programs."""
