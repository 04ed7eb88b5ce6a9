"""A released ONNX graph, computed with PyTorch's operators.

    model.onnx ─▶ read: nodes, constants; what is not known is refused
        ─▶ plan, for a number of images: what does not depend on pixels is computed once
        ─▶ steps ─▶ on a GPU: those without suppression recorded as one CUDA graph ─▶ outputs

Operators mean what ONNX says, to the letter: `elementwise`, `shapes`, `layers` and `boxes` hold them. An
operator, an attribute or a way of using one that is not there is refused by name, never guessed.
"""
