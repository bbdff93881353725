"""Graph -> trainable Keras model -> graph: constraints, binarisation, distillation."""
