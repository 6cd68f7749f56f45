"""Words of other libraries, and what they are called here: the one table behind "did you mean".

A row is a name of ours, or what to do instead, and the words that PyTorch, Keras, TensorFlow,
SciPy, OpenCV, scikit-learn, timm and others have for it. ``meant`` looks a refused word up among
the names that are known where it was given, and then for one that is spelled nearly like it.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

# Arguments of functions and layers, settings, and options of the command line. The first row whose
# name is known counts, and an instruction only where no name is.
ARGUMENTS = {
    "weight": "kernel kernels kernel_size weights w filter filters",
    "kernel": "kernel_size kernel_shape ksize k_size k pool_size pool window window_shape "
    "window_size filter filter_size",
    "taps": "kernel_size filt_size ksize",
    "x": "input inputs image images img src array arr data signal samples features tensor",
    "y": "target targets labels label y_true",
    "grad": "grad_output dout dy",
    "out": "output dst outdir out_dir output_dir output_folder output_path save save_dir project "
    "log_dir o dest",
    "channels": "filters out_channels output_channels num_filters n_filters nb_filter planes "
    "out_planes out_chs data_format",
    "features": "units out_features num_units output_dim embedding_dim out_channels",
    "hidden": "hidden_size hidden_units hidden_dim units num_units",
    "stride": "strides subsample window_strides",
    "padding": "pad pads pad_width paddings auto_pad",
    "dilation": "dilation_rate dilations rhs_dilation atrous_rate rate",
    "padding_mode": "mode pad_mode padding_type boundary border border_mode border_type",
    "padding_value": "cval fill fill_value fillvalue constant_values border_value value",
    "mode": "pad_mode padding_type padding_mode boundary border border_mode interpolation method",
    "value": "cval fill fill_value constant_values padding_value",
    "channels_last": "data_format channel_axis channels_first memory_format channel_last "
    "multichannel",
    "groups": "feature_group_count num_groups n_groups group ngroups",
    "bias": "use_bias bias_term with_bias b",
    "ceil": "ceil_mode",
    "count_padding": "count_include_pad",
    "indices": "return_indices with_indices",
    "output_padding": "out_padding",
    "heads": "num_heads n_heads nhead",
    "kv_heads": "num_key_value_heads",
    "causal": "is_causal use_causal_mask",
    "last": "return_sequences",
    "layers": "num_layers n_layers",
    "eps": "epsilon",
    "rate": "p prob drop_prob drop_rate dropout dropout_rate keep_prob",
    "slope": "negative_slope leak alpha",
    "vocabulary": "num_embeddings input_dim vocab_size",
    "padding_index": "padding_idx mask_zero",
    "scale": "scale_factor",
    "size": "output_size imgsz img_size image_size input_size resize resolution res kernel_size",
    "factor": "upscale_factor downscale_factor block_size",
    "initial": "init_values",
    "shortcut": "downsample skip",
    "reduced": "squeeze_channels rd_channels",
    "classes": "num_classes n_classes nb_classes num_labels class_names output_dim labels",
    "width": "width_mult width_multiplier depth_multiplier",
    "input_shape": "shape input_size in_shape size sample_shape",
    "input": "input_shape shape input_size imgsz img_size image_size size resolution",
    "batch": "batch_size batchsize mini_batch minibatch bs batches b",
    "epochs": "epoch n_epochs n_epoch nb_epoch num_epochs num_train_epochs max_epochs max_iter "
    "iterations e",
    "validation": "validation_data validation_split validation_fraction held_out holdout val "
    "val_data val_split valid valid_pct split test_size eval_set",
    "val": "validation_data val_data valid validation",
    "held_out": "validation validation_split validation_fraction holdout val val_split valid "
    "valid_pct split test_size",
    "lr": "learning_rate learningrate learning_rate_init max_lr lr_max lr0 eta eta0 step_size",
    "decay": "weight_decay wd l2 alpha",
    "optimizer": "opt optim optimiser solver",
    "momentum": "beta1 beta_1",
    "schedule": "lr_schedule lr_scheduler scheduler sched",
    "warmup": "warmup_steps warmup_epochs warmup_ratio pct_start",
    "clip": "clipnorm clip_norm clip_grad clipvalue grad_clip gradient_clip gradient_clip_val "
    "max_grad_norm max_norm",
    "smoothing": "label_smoothing",
    "loss": "criterion objective loss_fn loss_func loss_function",
    "metric": "metrics scoring monitor eval_metric",
    "metrics": "metric scoring eval_metric",
    "patience": "early_stopping early_stopping_rounds n_iter_no_change",
    "n_iter_no_change": "patience early_stopping_rounds",
    "validation_fraction": "validation_split validation held_out valid_pct split",
    "class_weight": "class_weights",
    "class_weights": "class_weight",
    "sample_weight": "sample_weights weights",
    "show": "verbose progress progress_bar",
    "callbacks": "callback cbs",
    "seed": "random_state random_seed rng",
    "random_state": "seed random_seed rng",
    "augment": "augmentation augmentations data_augmentation transform transforms aug",
    "flip": "horizontal_flip hflip fliplr",
    "crop": "random_crop",
    "shift": "translate width_shift_range",
    "jitter": "noise",
    "cutout": "random_erasing erase",
    "ema": "ema_decay model_ema",
    "accumulate": "accumulate_grad_batches gradient_accumulation_steps grad_accum",
    "freeze": "freeze_layers frozen trainable",
    "distil": "distill alpha_distillation",
    "half": "fp16",
    "threads": "num_threads n_threads nthreads n_jobs jobs workers num_workers",
    "n_jobs": "threads num_threads n_threads jobs workers num_workers",
    "verbose": "show progress progress_bar",
    "n": "threads num_threads n_threads n_jobs workers",
    "net": "model module arch architecture backbone network weights estimator hidden_layer_sizes",
    "from": "checkpoint ckpt finetune start start_from pretrained init weights",
    "resume": "resume_from continue",
    "force": "overwrite yes f",
    "set": "options option",
    "top": "top_k topk",
    "leave it out: a layer finds out how many channels it gets": "in_channels in_chs in_planes "
    "inplanes in_features input_channels num_features num_channels normalized_shape embed_dim "
    "d_model input_dim input_size",
    "leave it out: values of a network are written once": "inplace",
    "leave it out: normalisation has weights and running statistics": "affine "
    "elementwise_affine center track_running_stats",
    "leave it out: an activation is a layer of its own, after this one": "activation nonlinearity",
    "leave it out: write Model(net, input_shape)": "input_shape batch_input_shape",
    "leave it out: first weights follow from the seed of the model": "kernel_initializer "
    "bias_initializer init",
    "leave it out: weight decay is fit(decay=...)": "kernel_regularizer bias_regularizer "
    "activity_regularizer",
    "leave it out: Model.start_from takes the weights of another model": "pretrained weights",
    "leave it out: each epoch has an order of its own, which follows from the seed": "shuffle",
    "leave it out: an epoch is every sample once": "steps_per_epoch",
    "leave it out: fit goes on from the parameters that the model has": "initial_epoch",
    "leave it out: samples are predicted in batches of the best size": "batch_size batch",
    "leave it out: faltung computes on the processor": "device cuda gpu gpus accelerator",
    "leave it out: faltung.set_threads and FALTUNG_NUM_THREADS are for all calls": "n_jobs jobs "
    "threads workers num_workers use_multiprocessing",
}

# Where other libraries want the channels that a layer gets, among the arguments by position.
CHANNELS_IN = {
    **dict.fromkeys(("Conv", "ConvTranspose", "Local", "Linear", "BatchNorm", "LayerNorm"), 0),
    **dict.fromkeys(("Attention", "LSTM", "GRU", "RNN", "LayerScale", "SqueezeExcite", "Blur"), 0),
    "GroupNorm": 1,
}

# Layers; 1d, 2d and 3d at the end of a word do not count.
LAYERS = {
    "Conv": "convolution lazyconv",
    "ConvTranspose": "deconv deconvolution convtranspose conv1dtranspose conv2dtranspose "
    "conv3dtranspose",
    "Local": "locallyconnected",
    "Linear": "dense fullyconnected fc lazylinear",
    "Dropout": "spatialdropout alphadropout",
    "StochasticDepth": "droppath",
    "BatchNorm": "batchnormalization syncbatchnorm bn",
    "LayerNorm": "layernormalization ln",
    "GroupNorm": "groupnormalization instancenorm",
    "LocalResponseNorm": "lrn",
    "MaxPool": "maxpooling",
    "AvgPool": "averagepool averagepooling avgpooling meanpool",
    "GlobalAvgPool": "globalaveragepooling globalaveragepool gap",
    "AdaptiveMaxPool": "globalmaxpooling globalmaxpool",
    "AdaptiveAvgPool": "adaptiveaveragepool",
    "Upsample": "upsampling upsamplingnearest upsamplingbilinear resizing resize interpolate",
    "Pad": "zeropadding zeropad constantpad reflectionpad replicationpad circularpad",
    "Blur": "blurpool",
    "Parallel": "concatenate concat cat",
    "Residual": "add skip shortcut",
    "SiLU": "swish",
    "LeakyReLU": "prelu",
    "Attention": "multiheadattention mha",
    "RNN": "simplernn",
    "PixelShuffle": "depthtospace",
    "PixelUnshuffle": "spacetodepth",
    "SqueezeExcite": "squeezeexcitation se",
    "Quantise": "fakequantize quantize",
    "Sequential": "modulelist",
    "Layer": "module",
    "write nn.Conv(C, kernel, groups=C) for C channels": "depthwiseconv",
    "write nn.Conv(C, kernel, groups=C) and nn.Conv(channels, 1)": "separableconv",
    'write nn.Conv(channels, kernel, padding="causal")': "causalconv",
    "write nn.LSTM(hidden, bidirectional=True)": "bidirectional",
    "write faltung.Model(net, input_shape)": "model input inputlayer",
    "it is no layer: write fit(loss=...)": "crossentropyloss nllloss bceloss bcewithlogitsloss "
    "mseloss l1loss huberloss",
    "it is no layer: write fit(optimizer=..., lr=...)": "adam sgd adamw",
}

# Functions of ``faltung``, and what lies elsewhere; an instruction names it.
FUNCTIONS = {
    "conv": "convolve correlate convolution xcorr convnd",
    "conv1d": "convolve1d correlate1d",
    "conv2d": "convolve2d correlate2d filter2d",
    "conv_transpose": "conv_transpose1d conv_transpose2d conv_transpose3d conv1d_transpose "
    "conv2d_transpose conv3d_transpose deconv",
    "conv_input_grad": "conv2d_input conv2d_backprop_input",
    "conv_weight_grad": "conv2d_weight conv2d_backprop_filter",
    "conv_local": "locally_connected unfold",
    "max_pool": "maxpool max_pooling",
    "max_pool1d": "maxpool1d max_pooling1d",
    "max_pool2d": "maxpool2d max_pooling2d",
    "max_pool3d": "maxpool3d max_pooling3d",
    "avg_pool": "avgpool average_pool mean_pool average_pooling",
    "avg_pool1d": "avgpool1d average_pooling1d",
    "avg_pool2d": "avgpool2d average_pooling2d",
    "avg_pool3d": "avgpool3d average_pooling3d",
    "global_avg_pool": "adaptive_avg_pool2d global_average_pooling",
    "max_pool_grad": "max_unpool1d max_unpool2d max_unpool3d",
    "set_threads": "set_num_threads",
    "get_threads": "get_num_threads",
    "write faltung.Model.load(path)": "load load_model",
    "write model.save(path)": "save save_model",
    "write model.fit(x, y)": "fit train",
    "write faltung.onnx.load(path)": "load_onnx inferencesession",
    "write faltung.nets.get(name)": "get_model create_model",
    "write faltung.data.open_source(path)": "load_data open_source dataset dataloader",
    "write faltung.torch.compile(model), after import faltung.torch": "compile",
}

# Methods of a model.
METHODS = {
    "fit": "train learn fit_generator",
    "predict": "forward transform infer call classify",
    "evaluate": "score test",
    "parameters": "state_dict get_weights named_parameters weights",
    "set_parameters": "load_state_dict set_weights load_weights",
    "astype": "half to",
    "save": "save_weights dump",
    "leave it out: loss, optimizer and metric are keywords of fit": "compile",
    "leave it out: fit trains, predict and evaluate do not": "eval train_mode",
    "leave it out: faltung computes on the processor": "cuda cpu",
}

NETS = {
    "resnet18": "resnet resnet34 resnet20 resnet10",
    "resnet50": "resnet resnet101 resnet152 resnext50 wideresnet50",
    "vgg16": "vgg vgg11 vgg13 vgg19",
    "googlenet": "inceptionv3 inceptionv4 inceptionresnet",
    "densenet121": "densenet densenet161",
    "mobilenetv2": "mobilenet mobilenetv1",
    "mobilenetv3small": "mobilenetv3 mobilenet",
    "mobilenetv3large": "mobilenetv3",
    "efficientnetb0": "efficientnet efficientnetv2",
    "shufflenetv2": "shufflenet",
    "convnexttiny": "convnext",
    "vittiny": "vit visiontransformer deit",
    "vitbase": "vitb16",
    "mobilevits": "mobilevit",
    "unet": "unet2d unet3d segmentation",
    "deeplabv3": "deeplab deeplabv3plus",
    "yoloxs": "yolo yolox yolov5 yolov8",
    "textcnn": "text bert",
    "tcn": "wavenet conv1d",
    "resnet3d18": "r3d18 resnet3d",
    "mlp": "dense linear",
    "lenet5": "lenet1 cnn",
}

COMMANDS = {
    "train": "fit learn tr run",
    "evaluate": "test eval validate val score",
    "predict": "infer inference classify detect apply",
    "look": "visualize visualise plot show view draw",
    "see": "explore explorer animate",
    "export": "convert save onnx",
    "bench": "benchmark time speed timeit",
    "compress": "prune quantize quantise distill shrink slim",
    "nets": "list models zoo networks",
    "summary": "info describe inspect print",
    "doctor": "check env version status",
    "cache": "clean clear",
    "profile": "perf trace",
    "explain": "why plan",
}

_DTYPES = {
    "float32": "fp32 f32 float single torch.float32",
    "float64": "fp64 f64 double torch.float64",
    "float16": "fp16 f16 half torch.float16",
    "bfloat16": "bf16 torch.bfloat16",
}
# SciPy's "reflect" is "symmetric" here: a word of both, which cannot be told apart.
_FILLS = {
    "zeros": "zero constant grid-constant border_constant fill",
    "reflect": "mirror border_default border_reflect101 border_reflect_101 reflect101 reflect_101",
    "symmetric": "symm grid-mirror border_reflect",
    "replicate": "nearest edge clamp border_replicate",
    "circular": "wrap periodic grid-wrap border_wrap",
}
# Words that an argument takes; the key is the argument.
VALUES = {
    "padding_mode": _FILLS,
    "padding": {
        "write the size of the kernel less one, as padding=2 for a kernel of 3": "full",
        "write 0": "none no",
    },
    "optimizer": {"adamw": "adam nadam adamax", "sgd": "momentum rmsprop"},
    "loss": {
        "cross_entropy": "crossentropy categorical_crossentropy sparse_categorical_crossentropy "
        "ce nll log_loss softmax crossentropyloss",
        "binary_cross_entropy": "bce binary_crossentropy bce_with_logits binary",
        "mse": "mean_squared_error l2 squared_error mseloss",
        "mae": "mean_absolute_error l1 absolute_error l1loss",
        "huber": "smooth_l1",
    },
    "metric": {
        "accuracy": "acc sparse_categorical_accuracy top1",
        "f1": "f1_score f1_macro",
        "auc": "roc_auc auroc",
        "mse": "mean_squared_error",
        "mae": "mean_absolute_error",
        "jaccard": "iou miou",
    },
    "schedule": {
        "constant": "none fixed step",
        "cosine": "cosineannealing cosine_annealing cosine_decay",
        "one_cycle": "onecycle",
    },
    "sampler": {"shuffled": "random shuffle", "balanced": "weighted"},
    "dtype": _DTYPES,
    "fill": {"edge": "nearest replicate", "zero": "zeros constant"},
}


# Each word for a padding mode, and ours.
MODES_ELSEWHERE = {word: ours for ours, words in _FILLS.items() for word in words.split()}


def meant(word: object, known: Iterable[str], table: dict[str, str] | None = None) -> str:
    """What to say after a refused word: a name that may have been meant, or what to do instead.

    word: what was given. known: the names that are taken there. table: rows of this file. Empty
    where nothing is like it; begins with "; " otherwise.
    """
    if not isinstance(word, str) or not word or len(word) > LONGEST_WORD:
        return ""
    names = tuple(known)
    found = _of_table(word, names, table or {}) or _spelled(word, names)
    if not found:
        return ""
    if " " in found[0]:
        return f"; {found[0]}"
    return f"; did you mean {' or '.join(found)}?"


def no_such(module: str, name: str, known: Iterable[str], table: dict[str, str]) -> str:
    """What to say of a name that a module, or an object, does not have."""
    said = "" if name.startswith("_") else meant(name, known, table)
    return f"{module} has no {name}{said}"


def layer_meant(word: str, known: Mapping[str, Callable[..., Any]]) -> str:
    """What to say after a word that no layer has, which may end in 1d, 2d or 3d."""
    short = re.sub(r"[123]d$", "", word, flags=re.IGNORECASE)
    found = _of_table(short, list(known), LAYERS) or _spelled(short, list(known))
    if word.startswith("_") or not found:
        return ""
    if " " in found[0]:
        return f"; {found[0]}"
    from inspect import signature

    each = signature(known[found[0]]).parameters.values()
    takes = ", ".join(p.name for p in each if p.kind == p.POSITIONAL_OR_KEYWORD)
    return f"; write nn.{found[0]}({takes})"


LONGEST_WORD = 60  # letters of a word that is looked up
ALIKE = 0.7  # of difflib: trian and train are alike (0.8), int8 and int64 are not (0.67)


def plain(word: str) -> str:
    """A word without capitals, hyphens and the like."""
    return re.sub(r"[-_ .]", "", word).lower()


def _of_table(word: str, names: Sequence[str], table: dict[str, str]) -> list[str]:
    """Names whose rows have the word, else the instruction that has it."""
    said = plain(word)
    same = [name for name in names if plain(name) == said]
    if same:
        return same[:1]
    rows = [ours for ours, words in table.items() if said in map(plain, words.split())]
    there = [ours for ours in rows if ours in names]
    return there[:2] or [ours for ours in rows if " " in ours][:1]


def _spelled(word: str, names: Sequence[str]) -> list[str]:
    """The name that is spelled most like it."""
    from difflib import get_close_matches

    lower = {name.lower(): name for name in names}
    return [lower[each] for each in get_close_matches(word.lower(), list(lower), 1, ALIKE)]
