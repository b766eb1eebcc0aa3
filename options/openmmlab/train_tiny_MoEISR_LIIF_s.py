"""The training of tiny_MoEISR_LIIF_s by mmengine.Runner; the recipe of options/train/tiny of the same name.

Give it folders of photographs, see docs/openmmlab.md.
"""

custom_imports = dict(imports=["moeisr_plugin.openmmlab"])

warm_up, iterations, of_the_mapper = 100, 25_000, 3_000

model = dict(
    type="ImplicitRestorer",
    network=dict(
        type="MoEISRLIIF",
        encoder=dict(type="EDSREncoder", num_feat=32, num_block=8),
        hidden_dim=48,
        expert_depths=[2, 3, 4, 5],
        identity_start=True,
        mapper_depth=2,
    ),
    pixel_loss=dict(type="L1Loss", loss_weight=1.0, reduction="mean"),
    balance_loss=dict(type="BalanceLoss", loss_weight=2.5e-4, reduction="mean"),
    cost_loss=dict(type="CostLoss", loss_weight=1.15e-3),
    random_gates_iter=iterations,
    mapper_alone_after=iterations,
)

train_dataloader = dict(
    dataset=dict(
        type="ArbitraryScaleDataset",
        opt=dict(dataroot_gt="datasets/photographs", recursive=True, lr_size=24, sample_q=576),
    ),
    sampler=dict(type="ExactSampler"),
    collate_fn=dict(type="default_collate"),
    batch_size=8,
    num_workers=0,
)
val_dataloader = dict(
    dataset=dict(
        type="ScaleValidationSets",
        common=dict(name="Set5", dataroot_gt="datasets/Set5"),
        sets=[dict(scale=2), dict(scale=3), dict(scale=4)],
    ),
    sampler=dict(type="DefaultSampler", shuffle=False),
    collate_fn=dict(type="default_collate"),
    batch_size=1,
    num_workers=0,
)
val_evaluator = [
    dict(type="ProtocolPSNR", protocol="benchmark"),
    dict(type="ProtocolSSIM", protocol="benchmark"),
    dict(type="ExpertShares"),
]

train_cfg = dict(type="ExactTrainLoop", max_iters=iterations + of_the_mapper, val_interval=5_000)
val_cfg = dict()

optim_wrapper = dict(optimizer=dict(type="Adam", lr=1e-3))
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-3, by_epoch=False, end=warm_up),
    dict(
        type="CosineRestartLR",
        periods=[iterations - warm_up, of_the_mapper],
        restart_weights=[1, 1],
        eta_min=1e-5,
        by_epoch=False,
        begin=warm_up,
    ),
]

custom_hooks = [
    dict(type="EMAHook", ema_type="ExponentialMovingAverage", momentum=1e-3),
    dict(type="NetworkFileHook"),
]
default_hooks = dict(
    logger=dict(type="LoggerHook", interval=100),
    checkpoint=dict(type="CheckpointHook", by_epoch=False, interval=1_000, max_keep_ckpts=3),
)
log_processor = dict(by_epoch=False)
randomness = dict(seed=0)
work_dir = "work_dirs/tiny_MoEISR_LIIF_s"
