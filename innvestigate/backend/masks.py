"""Keras hands masks on as an attribute of the tensor, which functional transforms drop."""


def keep_masks(function, inputs):
    """`function`, its arguments wearing the Keras masks of `inputs`."""
    masks = [getattr(x, "_keras_mask", None) for x in inputs]

    def masked(*arguments):
        for argument, mask in zip(arguments, masks, strict=True):
            if mask is not None:
                argument._keras_mask = mask
        return function(*arguments)

    return masked


def wear_masks(values, owners):
    """Put the Keras masks of `owners` on `values`, one by one."""
    for value, owner in zip(values, owners, strict=True):
        mask = getattr(owner, "_keras_mask", None)
        if mask is not None:
            value._keras_mask = mask
