"""Every backbone of KerasHub in a tiny configuration with a head of three neurons, made offline.

Where a backbone's argument has no default, it is found in `COMMON` by its name, unless the
backbone brings its own.
"""

import inspect
from functools import partial

import keras
import keras_hub
import numpy as np
from keras import layers, ops

hub = keras_hub.models
PLACES = 6  # tokens in a sequence
COMMON = {
    **dict.fromkeys(["vocabulary_size", "vocab_size"], 50),
    **dict.fromkeys(["num_layers", "num_heads", "num_query_heads", "num_attention_heads"], 2),
    **dict.fromkeys(["num_layers_enc", "num_layers_dec", "num_experts", "top_k"], 2),
    **dict.fromkeys(["hidden_dim", "embedding_dim", "hidden_size", "projection_dim"], 8),
    **dict.fromkeys(["intermediate_dim", "mlp_dim", "moe_intermediate_dim"], 16),
    **dict.fromkeys(["shared_expert_intermediate_dim", "shared_expert_intermediate_size"], 16),
    **dict.fromkeys(["head_dim", "head_size"], 4),
    "num_key_value_heads": 1,
    "image_shape": (32, 32, 3),
    "patch_size": 8,
}
SHORT = {"max_sequence_length": 16}
IMAGE = {"image_shape": (32, 32, 3)}
LINEAR = {
    "linear_num_key_heads": 1,
    "linear_num_value_heads": 2,
    "linear_key_head_dim": 4,
    "linear_value_head_dim": 4,
    "layer_types": ["linear_attention", "full_attention"],
    "partial_rotary_factor": 1.0,
}
SMOL = {
    "attention_bias": False,
    "attention_dropout": 0.0,
    "rope_layer_enabled_list": [True] * 2,
    "layer_types": ["attention"] * 2,
    "mlp_bias": False,
    "layer_norm_epsilon": 1e-5,
    "max_position_embeddings": 16,
    "rope_theta": 10000.0,
    "partial_rotary_factor": 1.0,
}
T5_GEMMA = {
    f"{part}_{name}": value
    for part in ("encoder", "decoder")
    for name, value in {
        "hidden_dim": 8,
        "intermediate_dim": 16,
        "num_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 4,
        "layer_types": ["full_attention"] * 2,
    }.items()
}
STAGES = {
    "stackwise_block_types": [["er"], ["uir", "uir"]],
    "stackwise_num_blocks": [1, 2],
    "stackwise_num_filters": [[8], [16, 16]],
    "stackwise_strides": [[2], [2, 1]],
    "stackwise_act_layers": [["relu"], ["relu", "relu"]],
    "stackwise_exp_ratios": [[4.0], [6.0, 6.0]],
    "stackwise_se_ratios": [[0.0], [0.0, 0.0]],
    "stackwise_dw_kernel_sizes": [[0], [5, 5]],
    "stackwise_dw_start_kernel_sizes": [[0], [0, 0]],
    "stackwise_dw_end_kernel_sizes": [[0], [0, 0]],
    "stackwise_exp_kernel_sizes": [[3], [0, 0]],
    "stackwise_pw_kernel_sizes": [[1], [0, 0]],
    "stackwise_num_heads": [[0], [0, 0]],
    "stackwise_key_dims": [[0], [0, 0]],
    "stackwise_value_dims": [[0], [0, 0]],
    "stackwise_kv_strides": [[0], [0, 0]],
    "stackwise_use_cpe": [[False], [False, False]],
    "use_msfa": False,
}
TEXT_ENCODER = {"embedding_dim": 8, "hidden_dim": 8, "num_layers": 2, "num_heads": 2}


def backbone(name: str, **own) -> keras.Model:
    """A backbone by its name, in a tiny configuration."""
    cls = getattr(hub, name + "Backbone")
    parameters = inspect.signature(cls.__init__).parameters
    needed = [p for p, x in parameters.items() if x.default is x.empty and p in COMMON]
    return cls(**{p: COMMON[p] for p in needed} | own)


def _resnet(**own):
    return backbone(
        "ResNet",
        input_conv_filters=[64],
        input_conv_kernel_sizes=[3],
        stackwise_num_filters=[64, 8, 8],
        stackwise_num_blocks=[1, 1, 1],
        stackwise_num_strides=[1, 2, 2],
        block_type="basic_block",
        **IMAGE,
        **own,
    )


def _hgnet(**own):
    return backbone(
        "HGNetV2",
        depths=[1, 1],
        embedding_size=8,
        hidden_sizes=[16, 32],
        stem_channels=[3, 8, 8],
        hidden_act="relu",
        use_learnable_affine_block=True,
        stackwise_stage_filters=[(8, 8, 16, 1, 1, 3), (16, 8, 32, 1, 1, 3)],
        apply_downsample=[False, True],
        use_lightweight_conv_block=[False, True],
        **own,
    )


def _dino(version: str, **own):
    return backbone("DINOV" + version, **IMAGE, **own)


def _mit():
    return backbone(
        "MiT",
        num_layers=2,
        hidden_dims=[8, 16],
        layerwise_depths=[1, 1],
        layerwise_num_heads=[1, 2],
        layerwise_sr_ratios=[2, 1],
        layerwise_patch_sizes=[7, 3],
        layerwise_strides=[4, 2],
        max_drop_path_rate=0.1,
        **IMAGE,
    )


def _tower(name: str, part: str):
    """One of the two encoders that such a backbone consists of; each is a backbone itself."""
    own = (
        {"patch_size": 8, **IMAGE}
        if part == "Vision"
        else {"vocabulary_size": 50, "embedding_dim": 8, **SHORT_TEXT[name]}
    )
    sizes = {"hidden_dim": 8, "num_layers": 2, "num_heads": 2, "intermediate_dim": 16}
    return getattr(hub, f"{name}{part}Encoder")(**own, **sizes)


def _two_towers(name: str):
    vision, text = _tower(name, "Vision"), _tower(name, "Text")
    return backbone(name, vision_encoder=vision, text_encoder=text)


SHORT_TEXT = {
    "CLIP": {"max_sequence_length": 16},
    "SigLIP": {"max_sequence_length": PLACES},
    "MetaCLIP2": {"max_sequence_length": 16},
}


def _vit_det(**own):
    return backbone(
        "ViTDet",
        global_attention_layer_indices=[1],
        patch_size=8,
        num_output_channels=8,
        window_size=2,
        **own,
    )


def _sam():
    return backbone(
        "SAM",
        image_encoder=_vit_det(**IMAGE),
        prompt_encoder=keras_hub.layers.SAMPromptEncoder(
            hidden_size=8,
            image_embedding_size=(4, 4),
            input_image_size=(32, 32),
            mask_in_channels=4,
        ),
        mask_decoder=keras_hub.layers.SAMMaskDecoder(
            num_layers=2,
            hidden_size=8,
            intermediate_dim=16,
            num_heads=2,
            embedding_dim=8,
            num_multimask_outputs=3,
            iou_head_depth=2,
            iou_head_hidden_dim=8,
        ),
    )


def _sam3():
    own = keras_hub.layers
    sizes = {"num_layers": 2, "hidden_dim": 8, "intermediate_dim": 16, "num_heads": 2}
    image = {"image_shape": (56, 56, 3), "patch_size": 14}
    return backbone(
        "SAM3PromptableConcept",
        vision_encoder=own.SAM3VisionEncoder(
            fpn_hidden_dim=8,
            fpn_scale_factors=[4.0, 2.0, 1.0, 0.5],
            pretrain_image_shape=(28, 28, 3),
            window_size=2,
            global_attn_indexes=[1],
            **image,
            **sizes,
        ),
        text_encoder=own.SAM3TextEncoder(vocabulary_size=50, embedding_dim=8, **sizes),
        geometry_encoder=own.SAM3GeometryEncoder(roi_size=7, **sizes),
        detr_encoder=own.SAM3DetrEncoder(**sizes),
        detr_decoder=own.SAM3DetrDecoder(num_queries=5, **image, **sizes),
        mask_decoder=own.SAM3MaskDecoder(num_upsampling_stages=3, hidden_dim=8, num_heads=2),
    )


def _d_fine():
    return backbone(
        "DFine",
        backbone=_hgnet(image_shape=(64, 64, 3), out_features=["stage1", "stage2"]),
        decoder_in_channels=[8, 8],
        encoder_hidden_dim=8,
        num_denoising=0,
        num_labels=5,
        learn_initial_query=False,
        num_queries=6,
        anchor_image_size=(64, 64),
        feat_strides=[4, 8],
        num_feature_levels=2,
        encoder_in_channels=[16, 32],
        encode_proj_layers=[1],
        encoder_ffn_dim=16,
        num_encoder_layers=1,
        hidden_expansion=0.5,
        depth_multiplier=0.5,
        eval_idx=-1,
        num_decoder_layers=2,
        decoder_attention_heads=2,
        decoder_ffn_dim=16,
        decoder_n_points=[2, 2],
        lqe_hidden_dim=8,
        num_lqe_layers=2,
        out_features=["stage1", "stage2"],
        image_shape=(64, 64, 3),
    )


def _stable_diffusion():
    vae = hub.VAEBackbone if hasattr(hub, "VAEBackbone") else None
    if vae is None:
        from keras_hub.src.models.vae.vae_backbone import VAEBackbone as vae
    text = partial(
        hub.CLIPTextEncoder,
        vocabulary_size=50,
        intermediate_dim=16,
        intermediate_output_index=-2,
        **TEXT_ENCODER,
    )
    return backbone(
        "StableDiffusion3",
        mmdit_patch_size=2,
        mmdit_hidden_dim=8,
        mmdit_num_layers=2,
        mmdit_num_heads=2,
        mmdit_position_size=16,
        mmdit_qk_norm=None,
        mmdit_dual_attention_indices=None,
        vae=vae(
            encoder_num_filters=[32] * 4,
            encoder_num_blocks=[1] * 4,
            decoder_num_filters=[32] * 4,
            decoder_num_blocks=[1] * 4,
            **IMAGE,
        ),
        clip_l=text(max_sequence_length=77),
        clip_g=text(max_sequence_length=77),
        latent_channels=16,
        **IMAGE,
    )


MODELS = {
    **{
        name: partial(backbone, name, **SHORT)
        for name in (
            *("Albert", "Bart", "Bert", "DistilBert", "Electra", "FNet", "GPT2"),
            *("OPT", "Roberta", "XLMRoberta", "ESM", "ESM2"),
        )
    },
    **{
        name: partial(backbone, name)
        for name in (
            *("Bloom", "Falcon", "EdRec", "Gemma", "GptOss", "Llama", "Llama3", "Mistral"),
            *("Mixtral", "Phi3", "Qwen", "Qwen2", "Qwen3", "T5", "XLNet"),
            *("DeiT", "ViT"),
        )
    },
    "GPTNeoX": partial(backbone, "GPTNeoX", hidden_dim=16, **SHORT),
    "DebertaV3": partial(backbone, "DebertaV3", bucket_size=8, **SHORT),
    "RoformerV2": partial(backbone, "RoformerV2"),
    "Qwen3Moe": partial(backbone, "Qwen3Moe", top_k=1),
    "QwenMoe": partial(backbone, "QwenMoe", top_k=1),
    "SmolLM": partial(backbone, "SmolLM", **SMOL),
    "SmolLM3": partial(backbone, "SmolLM3", **SMOL),
    "Qwen3_5": partial(backbone, "Qwen3_5", **LINEAR),
    "Qwen3_5Moe": partial(backbone, "Qwen3_5Moe", **LINEAR),
    "T5Gemma": partial(backbone, "T5Gemma", **T5_GEMMA),
    "T5Gemma2": partial(backbone, "T5Gemma2", **T5_GEMMA),
    "RWKV7": partial(backbone, "RWKV7", gate_lora=4, mv_lora=4, aaa_lora=4, decay_lora=4),
    "Gemma3": partial(backbone, "Gemma3", image_size=32),
    "Gemma4": partial(backbone, "Gemma4", image_size=32),
    "Gemma3n": partial(
        backbone,
        "Gemma3n",
        text_vocab_size=50,
        text_hidden_size=8,
        num_hidden_layers=2,
        pad_token_id=0,
        intermediate_size=[16, 16],
        hidden_activation="gelu_approximate",
        layer_types=["full_attention", "sliding_attention"],
        sliding_window=4,
        rope_theta=10000.0,
        max_position_embeddings=16,
        vocab_size_per_layer_input=50,
        hidden_size_per_layer_input=2,
        altup_num_inputs=2,
        laurel_rank=1,
    ),
    "PaliGemma": partial(
        backbone,
        "PaliGemma",
        image_size=32,
        vit_patch_size=8,
        vit_num_heads=2,
        vit_hidden_dim=8,
        vit_num_layers=2,
        vit_intermediate_dim=16,
    ),
    "Whisper": partial(
        backbone, "Whisper", max_encoder_sequence_length=16, max_decoder_sequence_length=16
    ),
    "Moonshine": partial(
        backbone,
        "Moonshine",
        filter_dim=8,
        encoder_num_layers=2,
        decoder_num_layers=2,
        encoder_num_heads=2,
        decoder_num_heads=2,
    ),
    "CLIP": partial(_two_towers, "CLIP"),
    "MetaCLIP2": partial(_two_towers, "MetaCLIP2"),
    "SigLIP": partial(_two_towers, "SigLIP"),
    **{
        f"{name}{part}Encoder": partial(_tower, name, part)
        for name in SHORT_TEXT
        for part in ("Text", "Vision")
    },
    "BLIP2": lambda: backbone(
        "BLIP2", vision_encoder=None, qformer=None, language_model=backbone("OPT", **SHORT)
    ),
    "DINOV2": partial(_dino, "2", position_embedding_shape=(32, 32)),
    "DINOV3": partial(_dino, "3"),
    "DepthAnything": lambda: backbone(
        "DepthAnything",
        image_encoder=_dino("2", position_embedding_shape=(32, 32)),
        reassemble_factors=[4, 2],
        neck_hidden_dims=[8, 16],
        fusion_hidden_dim=8,
        head_hidden_dim=8,
        head_in_index=-1,
        feature_keys=["stage1", "stage2"],
    ),
    "ViTDet": partial(_vit_det, **IMAGE),
    "SAM": _sam,
    "SAM3PromptableConcept": _sam3,
    "MiT": _mit,
    "SegFormer": lambda: backbone("SegFormer", image_encoder=_mit(), projection_filters=8),
    "SwinTransformer": partial(
        backbone,
        "SwinTransformer",
        embed_dim=8,
        depths=(2, 2),
        num_heads=(1, 2),
        window_size=4,
        image_shape=(32, 32, 3),
        patch_size=4,
    ),
    "VideoPrism": partial(
        backbone,
        "VideoPrism",
        num_frames=2,
        num_spatial_layers=1,
        num_temporal_layers=1,
        num_auxiliary_layers=1,
        **IMAGE,
    ),
    "ResNet": _resnet,
    "DeepLabV3": lambda: backbone(
        "DeepLabV3",
        image_encoder=_resnet(),
        spatial_pyramid_pooling_key="P4",
        low_level_feature_key="P2",
        upsampling_size=4,
        dilation_rates=[2, 3],
        projection_filters=8,
        **IMAGE,
    ),
    "RetinaNet": lambda: backbone(
        "RetinaNet", image_encoder=_resnet(), min_level=2, max_level=4, use_p5=False, **IMAGE
    ),
    "BASNet": lambda: backbone("BASNet", image_encoder=_basnet_encoder(), num_classes=1, **IMAGE),
    "HGNetV2": partial(_hgnet, **IMAGE),
    "DFine": _d_fine,
    "VGG": partial(
        backbone, "VGG", stackwise_num_repeats=[1, 1], stackwise_num_filters=[8, 8], **IMAGE
    ),
    "DenseNet": partial(backbone, "DenseNet", stackwise_num_repeats=[1, 1], growth_rate=4, **IMAGE),
    "Xception": partial(
        backbone,
        "Xception",
        stackwise_conv_filters=[[8, 8], [8, 8]],
        stackwise_pooling=[True, False],
        **IMAGE,
    ),
    "CSPNet": partial(
        backbone,
        "CSPNet",
        stem_filters=8,
        stem_kernel_size=3,
        stem_strides=1,
        stackwise_depth=[1, 1],
        stackwise_strides=[1, 2],
        stackwise_num_filters=[8, 16],
        block_type="dark_block",
        stage_type="dark",
        **IMAGE,
    ),
    "EfficientNet": partial(
        backbone,
        "EfficientNet",
        stackwise_width_coefficients=[1.0, 1.0],
        stackwise_depth_coefficients=[1.0, 1.0],
        stackwise_kernel_sizes=[3, 3],
        stackwise_num_repeats=[1, 1],
        stackwise_input_filters=[8, 8],
        stackwise_output_filters=[8, 16],
        stackwise_expansion_ratios=[1, 4],
        stackwise_squeeze_and_excite_ratios=[0.0, 0.25],
        stackwise_strides=[1, 2],
        stackwise_block_types=["fused", "unfused"],
        stackwise_force_input_filters=[0, 0],
        stackwise_nores_option=[False, False],
        input_shape=(32, 32, 3),
        num_features=16,
    ),
    "MobileNet": partial(
        backbone,
        "MobileNet",
        stackwise_expansion=[[8, 16], [16, 16]],
        stackwise_num_blocks=[2, 2],
        stackwise_num_filters=[[8, 8], [8, 8]],
        stackwise_kernel_size=[[3, 3], [5, 5]],
        stackwise_num_strides=[[2, 1], [2, 1]],
        stackwise_se_ratio=[[None, None], [0.25, 0.25]],
        stackwise_activation=[["relu", "relu"], ["hard_swish", "hard_swish"]],
        stackwise_padding=[[1, 1], [2, 2]],
        output_num_filters=16,
        depthwise_filters=8,
        depthwise_stride=2,
        depthwise_residual=False,
        last_layer_filter=16,
        squeeze_and_excite=0.5,
        **IMAGE,
    ),
    "MobileNetV5": partial(backbone, "MobileNetV5", num_features=8, **STAGES, **IMAGE),
    "PARSeq": lambda: backbone(
        "PARSeq",
        image_encoder=backbone("ViT", use_class_token=False),
        max_label_length=PLACES,
        decoder_hidden_dim=8,
        num_decoder_layers=1,
        num_decoder_heads=2,
        decoder_mlp_dim=16,
    ),
    "Flux": partial(
        backbone,
        "Flux",
        input_channels=8,
        hidden_size=16,
        mlp_ratio=2.0,
        depth=1,
        depth_single_blocks=1,
        axes_dim=[4, 2, 2],
        theta=10000,
        use_bias=True,
        image_shape=(6, 8),
        text_shape=(6, 8),
        image_ids_shape=(6, 3),
        text_ids_shape=(6, 3),
        y_shape=(8,),
    ),
    "StableDiffusion3": _stable_diffusion,
}


def _basnet_encoder():
    return backbone(
        "ResNet",
        input_conv_filters=[64],
        input_conv_kernel_sizes=[3],
        stackwise_num_filters=[64, 8, 8, 8],
        stackwise_num_blocks=[2, 2, 2, 2],
        stackwise_num_strides=[1, 2, 2, 2],
        block_type="basic_block",
    )


def model(name: str) -> keras.Model:
    """A backbone with a head: the mean over the places of its last output, and three neurons."""
    body = MODELS[name]()
    given = tree_of(body.input)
    outputs = body(given)
    found = outputs if not isinstance(outputs, dict) else outputs[_main(outputs)]
    y = keras.tree.flatten(found)[-1]
    if y.shape[-1] is None:  # one number for each pair of an image and a text: take its own
        return keras.Model(given, ops.expand_dims(ops.diagonal(y), -1))
    return keras.Model(given, layers.Dense(3)(ops.mean(y, axis=list(range(1, len(y.shape) - 1)))))


def _main(outputs: dict) -> str:
    order = [
        "sequence_output",
        "last_hidden_state",
        "image_embeddings",
        "decoder_sequence_output",
        "vision_embeddings",
    ]
    return next((name for name in order if name in outputs), list(outputs)[-1])


def tree_of(inputs):
    """New inputs like those of a backbone."""
    return keras.tree.map_structure(
        lambda t: keras.Input(t.shape[1:], dtype=t.dtype, name=t.name), inputs
    )


def data(network: keras.Model, rows: int = 2):
    """Inputs that fit a model: tokens, masks of ones, segments of zeros, numbers."""
    random = np.random.default_rng(0)
    inputs = network.input
    named = inputs if isinstance(inputs, dict) else {t.name: t for t in keras.tree.flatten(inputs)}
    found = {name: _example(name, t, rows, random) for name, t in named.items()}
    if isinstance(inputs, dict):
        return found
    values = list(found.values())
    return values if isinstance(inputs, (list, tuple)) else values[0]


def _example(name: str, tensor, rows: int, random) -> np.ndarray:
    length = {"encoder_input_values": 1000, "boxes": 1, "box_labels": 1}.get(name, PLACES)
    shape = (rows, *(size or length for size in tensor.shape[1:]))
    if "mask" in name and "masks" not in name:
        return np.ones(shape, tensor.dtype)
    if "segment" in name or "box" in name:
        return np.zeros(shape, tensor.dtype)
    if "int" in tensor.dtype:
        return random.integers(1, 50, shape).astype(tensor.dtype)
    return random.uniform(0, 1, shape).astype(tensor.dtype)
