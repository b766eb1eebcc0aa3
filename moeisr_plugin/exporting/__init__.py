"""Export networks as graphs with free sizes that route each picture anew, for torch.export and ONNX."""
