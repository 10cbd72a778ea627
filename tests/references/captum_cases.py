"""What is compared with Captum and SHAP. Imports nothing, so that both sides can read it."""

INDEX = 1
STEPS = (5, 32)
QUADRATURES = {
    "riemann_left": "left",
    "riemann_right": "right",
    "riemann_middle": "midpoint",
    "riemann_trapezoid": "trapezoid",
    "gausslegendre": "gauss_legendre",
}
"""Captum's names and ours. All of them take n points."""

SHAPES = {"mlp": (7,), "average": (6, 5, 2), "maximum": (6, 5, 2)}
WINDOWS = {
    "mlp": (((1,), (1,), 0.0), ((3,), (2,), 0.0), ((2,), (1,), 0.7)),
    "average": (
        *(((1, 1, 1), (1, 1, 1), 0.0), ((2, 3, 2), (1, 2, 1), 0.0)),
        *(((4, 1, 2), (2, 1, 2), -0.4), ((3, 2, 1), (3, 1, 1), 0.7)),
    ),
}
"""Window, step and value of occlusions by network. The windows end where the input does: where they
do not, Captum adds a cropped one, and we leave features uncovered."""
