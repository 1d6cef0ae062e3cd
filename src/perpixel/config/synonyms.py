"""Keys by the names that other tools give them."""

from __future__ import annotations

from collections.abc import Mapping

SYNONYMS: Mapping[str, str] = {
    name: key
    for key, names in {
        "trainer.max_epochs": "epochs epoch n_epochs num_epochs nepochs max_epoch num_train_epochs train_epochs",
        "trainer.max_steps": "steps iterations iters iter max_iters max_iter max_iterations num_steps n_iter "
        "total_steps num_iterations",
        "trainer.max_time": "time_limit max_hours",
        "trainer.devices": "gpus gpu n_gpus num_gpus gpu_ids num_devices world_size",
        "trainer.accelerator": "cuda",
        "trainer.precision": "amp fp16 bf16 half mixed_precision use_amp dtype",
        "trainer.accumulate_grad_batches": "accumulate grad_accum gradient_accumulation accum_steps "
        "gradient_accumulation_steps",
        "trainer.gradient_clip_val": "clip grad_clip clip_grad max_norm max_grad_norm gradient_clip",
        "trainer.val_check_interval": "eval_interval val_interval eval_steps",
        "training.ema_decay": "ema model_ema use_ema ema_rate",
        "training.early_stopping.patience": "early_stop early_stopping_patience",
        "training.checkpoint.monitor": "metric metric_for_best_model best_metric",
        "optimizer": "optim opt optimiser",
        "optimizer.lr": "learning_rate learningrate base_lr lr0 init_lr max_lr",
        "optimizer.encoder_lr": "backbone_lr lr_backbone lr_encoder",
        "optimizer.weight_decay": "wd decay l2",
        "scheduler": "lr_scheduler sched schedule lr_schedule lr_policy",
        "scheduler.warmup_steps": "warmup warmup_epochs warmup_iters num_warmup_steps",
        "data": "dataset data_set datasets data_module datamodule",
        "data.size": "image_size img_size imgsz imsize crop_size input_size resolution img_scale input_shape",
        "data.batch_size": "bs batchsize train_batch_size per_device_train_batch_size samples_per_gpu n_batch",
        "data.eval_batch_size": "val_batch_size test_batch_size per_device_eval_batch_size",
        "data.num_workers": "n_workers nworkers num_worker dataloader_num_workers workers_per_gpu",
        "data.source.root": "data_root data_dir data_path dataset_path dataset_dir root_dir datadir",
        "data.source.images": "image_dir images_dir img_dir img_path image_path train_images",
        "data.source.masks": "mask_dir masks_dir ann_dir label_dir labels_dir mask_path seg_dir",
        "data.source.classes": "num_classes n_classes nclasses nc class_names names num_labels",
        "data.source.fractions": "val_split val_size val_fraction test_size test_split valid_pct split_ratio",
        "data.source.folds": "n_folds num_folds kfold k_folds nfolds n_splits",
        "data.source.channels": "in_channels in_chans num_channels n_channels input_channels",
        "data.source.ignore_index": "ignore_label void_label ignore",
        "data.source.encoding": "mask_type label_type",
        "loss": "criterion loss_fn loss_function losses loss_type loss_name objective",
        "loss.class_weights": "class_weight weights_per_class balance",
        "model": "arch architecture network net model_name",
        "encoder": "backbone encoder_name",
        "encoder.weights": "pretrained encoder_weights pretrained_weights",
        "augment": "augmentation augmentations transforms transform aug augs",
        "logger": "tracker tracking report_to wandb tensorboard",
        "output": "output_dir out_dir outdir log_dir logdir save_dir work_dir workdir results_dir save_path exp_dir "
        "run_dir",
        "resume": "resume_from resume_from_checkpoint checkpoint ckpt ckpt_path checkpoint_path load_from",
        "seed": "random_seed random_state manual_seed",
    }.items()
    for name in names.split()
}
"""By the last part of the name, in lower case."""
