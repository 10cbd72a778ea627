"""What is compared with grad-cam. Imports nothing, so that both sides can read it."""

NEURON = 1
SIZE = (8, 7)
METHODS = {
    "grad_cam": "GradCAM",
    "grad_cam_plus_plus": "GradCAMPlusPlus",
    "layer_cam": "LayerCAM",
    "eigen_cam": "EigenCAM",
    "score_cam": "ScoreCAM",
}
"""Our names and those of grad-cam's classes."""
