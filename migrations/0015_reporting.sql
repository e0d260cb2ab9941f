-- What people and dashboards read: documented views, and what was published to compare with.

CREATE TABLE temper.published_result (
    model      text NOT NULL,
    dataset    text NOT NULL,
    schedule   text NOT NULL,
    target_num integer NOT NULL,
    target_den integer NOT NULL,
    clean      numeric NOT NULL CHECK (clean BETWEEN 0 AND 1),
    robust     numeric NOT NULL CHECK (robust BETWEEN 0 AND 1),
    expected   numeric NOT NULL CHECK (expected BETWEEN 0 AND 1),
    anomalous  boolean NOT NULL GENERATED ALWAYS AS (expected < robust) STORED,
    PRIMARY KEY (model, dataset, schedule, target_num, target_den),
    CONSTRAINT published_result_target CHECK (target_den > 0 AND target_num BETWEEN 0 AND target_den)
);
COMMENT ON TABLE temper.published_result IS 'Tables 1 and 2 of Ngnawé et al., ICLR 2026 (arXiv 2509.23325): what was published, which is no job of ours. The same rows as catalog/published.csv.';
COMMENT ON COLUMN temper.published_result.model IS 'Catalog name of the model.';
COMMENT ON COLUMN temper.published_result.dataset IS 'Catalog name of the dataset.';
COMMENT ON COLUMN temper.published_result.schedule IS 'fixed or two-hinge.';
COMMENT ON COLUMN temper.published_result.target_num IS 'Numerator of the target strength.';
COMMENT ON COLUMN temper.published_result.target_den IS 'Denominator of the target strength.';
COMMENT ON COLUMN temper.published_result.clean IS 'Accuracy without a perturbation, a share; printed in percent.';
COMMENT ON COLUMN temper.published_result.robust IS 'Accuracy at the target strength, a share.';
COMMENT ON COLUMN temper.published_result.expected IS 'Expected robustness up to the target strength, a share.';
COMMENT ON COLUMN temper.published_result.anomalous IS 'The row fits no falling curve, which lies above its end everywhere: printed so.';

INSERT INTO temper.published_result (model, dataset, schedule, target_num, target_den, clean, robust, expected) VALUES
    ('vit-base', 'fgvc-aircraft', 'fixed', 4, 255, 0.0640, 0.0280, 0.0448),
    ('vit-base', 'caltech256', 'fixed', 4, 255, 0.6814, 0.4164, 0.5507),
    ('vit-base', 'stanford-cars', 'fixed', 4, 255, 0.1270, 0.0490, 0.0820),
    ('vit-base', 'cub200', 'fixed', 4, 255, 0.4282, 0.1512, 0.2779),
    ('vit-base', 'stanford-dogs', 'fixed', 4, 255, 0.5640, 0.1997, 0.3693),
    ('vit-base', 'fgvc-aircraft', 'two-hinge', 4, 255, 0.5860, 0.1320, 0.3495),
    ('vit-base', 'caltech256', 'two-hinge', 4, 255, 0.7873, 0.4169, 0.6071),
    ('vit-base', 'stanford-cars', 'two-hinge', 4, 255, 0.7340, 0.1910, 0.4671),
    ('vit-base', 'cub200', 'two-hinge', 4, 255, 0.7340, 0.2363, 0.4809),
    ('vit-base', 'stanford-dogs', 'two-hinge', 4, 255, 0.7069, 0.1569, 0.4162),
    ('swin-base', 'fgvc-aircraft', 'fixed', 4, 255, 0.0770, 0.0480, 0.0611),
    ('swin-base', 'caltech256', 'fixed', 4, 255, 0.7997, 0.5716, 0.6919),
    ('swin-base', 'stanford-cars', 'fixed', 4, 255, 0.6020, 0.2970, 0.4474),
    ('swin-base', 'cub200', 'fixed', 4, 255, 0.7225, 0.4187, 0.5755),
    ('swin-base', 'stanford-dogs', 'fixed', 4, 255, 0.6189, 0.2689, 0.4417),
    ('swin-base', 'fgvc-aircraft', 'two-hinge', 4, 255, 0.7380, 0.3200, 0.5375),
    ('swin-base', 'caltech256', 'two-hinge', 4, 255, 0.8543, 0.5639, 0.7204),
    ('swin-base', 'stanford-cars', 'two-hinge', 4, 255, 0.8470, 0.4320, 0.6641),
    ('swin-base', 'cub200', 'two-hinge', 4, 255, 0.8229, 0.4161, 0.6382),
    ('swin-base', 'stanford-dogs', 'two-hinge', 4, 255, 0.7270, 0.2432, 0.4850),
    ('convnext-base', 'fgvc-aircraft', 'fixed', 4, 255, 0.0760, 0.0450, 0.0586),
    ('convnext-base', 'caltech256', 'fixed', 4, 255, 0.8327, 0.6154, 0.7308),
    ('convnext-base', 'stanford-cars', 'fixed', 4, 255, 0.6960, 0.4320, 0.5752),
    ('convnext-base', 'cub200', 'fixed', 4, 255, 0.7634, 0.4708, 0.6259),
    ('convnext-base', 'stanford-dogs', 'fixed', 4, 255, 0.6890, 0.3161, 0.5061),
    ('convnext-base', 'fgvc-aircraft', 'two-hinge', 4, 255, 0.7840, 0.3800, 0.5940),
    ('convnext-base', 'caltech256', 'two-hinge', 4, 255, 0.8941, 0.6145, 0.7723),
    ('convnext-base', 'stanford-cars', 'two-hinge', 4, 255, 0.8890, 0.5770, 0.7585),
    ('convnext-base', 'cub200', 'two-hinge', 4, 255, 0.8517, 0.4499, 0.6730),
    ('convnext-base', 'stanford-dogs', 'two-hinge', 4, 255, 0.7839, 0.2631, 0.5319),
    ('resnet50', 'fgvc-aircraft', 'fixed', 4, 255, 0.0840, 0.0290, 0.0456),
    ('resnet50', 'caltech256', 'fixed', 4, 255, 0.6747, 0.4002, 0.5374),
    ('resnet50', 'stanford-cars', 'fixed', 4, 255, 0.0420, 0.0290, 0.0349),
    ('resnet50', 'cub200', 'fixed', 4, 255, 0.4919, 0.1935, 0.3358),
    ('resnet50', 'stanford-dogs', 'fixed', 4, 255, 0.5705, 0.1980, 0.3773),
    ('resnet50', 'fgvc-aircraft', 'two-hinge', 4, 255, 0.5310, 0.1110, 0.2940),
    ('resnet50', 'caltech256', 'two-hinge', 4, 255, 0.7655, 0.3474, 0.5567),
    ('resnet50', 'stanford-cars', 'two-hinge', 4, 255, 0.7000, 0.1930, 0.4344),
    ('resnet50', 'cub200', 'two-hinge', 4, 255, 0.7006, 0.1959, 0.4362),
    ('resnet50', 'stanford-dogs', 'two-hinge', 4, 255, 0.6911, 0.1594, 0.4111),
    ('clip-vit-base', 'fgvc-aircraft', 'fixed', 4, 255, 0.0500, 0.0330, 0.0416),
    ('clip-vit-base', 'caltech256', 'fixed', 4, 255, 0.3191, 0.1549, 0.2300),
    ('clip-vit-base', 'stanford-cars', 'fixed', 4, 255, 0.0490, 0.0300, 0.0374),
    ('clip-vit-base', 'cub200', 'fixed', 4, 255, 0.1395, 0.0364, 0.0797),
    ('clip-vit-base', 'stanford-dogs', 'fixed', 4, 255, 0.0789, 0.0329, 0.0539),
    ('clip-vit-base', 'fgvc-aircraft', 'two-hinge', 4, 255, 0.6980, 0.3390, 0.5279),
    ('clip-vit-base', 'caltech256', 'two-hinge', 4, 255, 0.7483, 0.4664, 0.6099),
    ('clip-vit-base', 'stanford-cars', 'two-hinge', 4, 255, 0.8670, 0.5860, 0.7501),
    ('clip-vit-base', 'cub200', 'two-hinge', 4, 255, 0.7435, 0.3567, 0.5554),
    ('clip-vit-base', 'stanford-dogs', 'two-hinge', 4, 255, 0.6317, 0.2087, 0.4105),
    ('clip-convnext-base', 'fgvc-aircraft', 'fixed', 4, 255, 0.0310, 0.0250, 0.0282),
    ('clip-convnext-base', 'caltech256', 'fixed', 4, 255, 0.6176, 0.4213, 0.5154),
    ('clip-convnext-base', 'stanford-cars', 'fixed', 4, 255, 0.0280, 0.0160, 0.0223),
    ('clip-convnext-base', 'cub200', 'fixed', 4, 255, 0.2889, 0.1433, 0.2092),
    ('clip-convnext-base', 'stanford-dogs', 'fixed', 4, 255, 0.2390, 0.1133, 0.1714),
    ('clip-convnext-base', 'fgvc-aircraft', 'two-hinge', 4, 255, 0.8170, 0.5070, 0.6788),
    ('clip-convnext-base', 'caltech256', 'two-hinge', 4, 255, 0.8119, 0.5268, 0.6771),
    ('clip-convnext-base', 'stanford-cars', 'two-hinge', 4, 255, 0.9090, 0.7410, 0.8433),
    ('clip-convnext-base', 'cub200', 'two-hinge', 4, 255, 0.7906, 0.4211, 0.6145),
    ('clip-convnext-base', 'stanford-dogs', 'two-hinge', 4, 255, 0.7085, 0.2585, 0.4819),
    ('vit-base', 'fgvc-aircraft', 'fixed', 8, 255, 0.0300, 0.0200, 0.0250),
    ('vit-base', 'caltech256', 'fixed', 8, 255, 0.4495, 0.1952, 0.3143),
    ('vit-base', 'stanford-cars', 'fixed', 8, 255, 0.0360, 0.0200, 0.0274),
    ('vit-base', 'cub200', 'fixed', 8, 255, 0.1740, 0.0280, 0.0856),
    ('vit-base', 'stanford-dogs', 'fixed', 8, 255, 0.0864, 0.0288, 0.0535),
    ('vit-base', 'fgvc-aircraft', 'two-hinge', 8, 255, 0.5700, 0.0670, 0.2772),
    ('vit-base', 'caltech256', 'two-hinge', 8, 255, 0.7286, 0.2689, 0.4928),
    ('vit-base', 'stanford-cars', 'two-hinge', 8, 255, 0.6810, 0.0900, 0.3518),
    ('vit-base', 'cub200', 'two-hinge', 8, 255, 0.6474, 0.0979, 0.3393),
    ('vit-base', 'stanford-dogs', 'two-hinge', 8, 255, 0.5686, 0.0579, 0.2581),
    ('swin-base', 'fgvc-aircraft', 'fixed', 8, 255, 0.0420, 0.0270, 0.0347),
    ('swin-base', 'caltech256', 'fixed', 8, 255, 0.6887, 0.3810, 0.5340),
    ('swin-base', 'stanford-cars', 'fixed', 8, 255, 0.1320, 0.0560, 0.0866),
    ('swin-base', 'cub200', 'fixed', 8, 255, 0.4589, 0.1360, 0.2856),
    ('swin-base', 'stanford-dogs', 'fixed', 8, 255, 0.4605, 0.1108, 0.2669),
    ('swin-base', 'fgvc-aircraft', 'two-hinge', 8, 255, 0.6920, 0.2240, 0.4512),
    ('swin-base', 'caltech256', 'two-hinge', 8, 255, 0.8027, 0.3867, 0.6026),
    ('swin-base', 'stanford-cars', 'two-hinge', 8, 255, 0.7800, 0.2350, 0.5357),
    ('swin-base', 'cub200', 'two-hinge', 8, 255, 0.7480, 0.2107, 0.4734),
    ('swin-base', 'stanford-dogs', 'two-hinge', 8, 255, 0.6049, 0.0873, 0.3114),
    ('convnext-base', 'fgvc-aircraft', 'fixed', 8, 255, 0.0160, 0.0150, 0.0148),
    ('convnext-base', 'caltech256', 'fixed', 8, 255, 0.5985, 0.3395, 0.4634),
    ('convnext-base', 'stanford-cars', 'fixed', 8, 255, 0.0530, 0.0260, 0.0398),
    ('convnext-base', 'cub200', 'fixed', 8, 255, 0.0502, 0.0228, 0.0356),
    ('convnext-base', 'stanford-dogs', 'fixed', 8, 255, 0.2733, 0.0773, 0.1628),
    ('convnext-base', 'fgvc-aircraft', 'two-hinge', 8, 255, 0.7500, 0.2880, 0.5090),
    ('convnext-base', 'caltech256', 'two-hinge', 8, 255, 0.8499, 0.4182, 0.6492),
    ('convnext-base', 'stanford-cars', 'two-hinge', 8, 255, 0.8560, 0.3590, 0.6504),
    ('convnext-base', 'cub200', 'two-hinge', 8, 255, 0.8069, 0.2428, 0.5307),
    ('convnext-base', 'stanford-dogs', 'two-hinge', 8, 255, 0.6894, 0.0978, 0.3651),
    ('resnet50', 'fgvc-aircraft', 'fixed', 8, 255, 0.0130, 0.0090, 0.0074),
    ('resnet50', 'caltech256', 'fixed', 8, 255, 0.5359, 0.2678, 0.3993),
    ('resnet50', 'stanford-cars', 'fixed', 8, 255, 0.0150, 0.0120, 0.0134),
    ('resnet50', 'cub200', 'fixed', 8, 255, 0.3089, 0.0827, 0.1784),
    ('resnet50', 'stanford-dogs', 'fixed', 8, 255, 0.2714, 0.0695, 0.1561),
    ('resnet50', 'fgvc-aircraft', 'two-hinge', 8, 255, 0.4280, 0.0530, 0.2038),
    ('resnet50', 'caltech256', 'two-hinge', 8, 255, 0.6756, 0.2301, 0.4403),
    ('resnet50', 'stanford-cars', 'two-hinge', 8, 255, 0.5710, 0.0850, 0.2956),
    ('resnet50', 'cub200', 'two-hinge', 8, 255, 0.5949, 0.0868, 0.2995),
    ('resnet50', 'stanford-dogs', 'two-hinge', 8, 255, 0.5089, 0.0692, 0.2526),
    ('clip-vit-base', 'fgvc-aircraft', 'fixed', 8, 255, 0.0360, 0.0220, 0.0305),
    ('clip-vit-base', 'caltech256', 'fixed', 8, 255, 0.2302, 0.0729, 0.1452),
    ('clip-vit-base', 'stanford-cars', 'fixed', 8, 255, 0.0300, 0.0250, 0.0273),
    ('clip-vit-base', 'cub200', 'fixed', 8, 255, 0.1111, 0.0230, 0.0573),
    ('clip-vit-base', 'stanford-dogs', 'fixed', 8, 255, 0.0220, 0.0138, 0.0177),
    ('clip-vit-base', 'fgvc-aircraft', 'two-hinge', 8, 255, 0.6580, 0.2540, 0.4484),
    ('clip-vit-base', 'caltech256', 'two-hinge', 8, 255, 0.7068, 0.3370, 0.5167),
    ('clip-vit-base', 'stanford-cars', 'two-hinge', 8, 255, 0.8470, 0.3860, 0.6447),
    ('clip-vit-base', 'cub200', 'two-hinge', 8, 255, 0.6764, 0.1805, 0.4179),
    ('clip-vit-base', 'stanford-dogs', 'two-hinge', 8, 255, 0.5428, 0.0894, 0.2778),
    ('clip-convnext-base', 'fgvc-aircraft', 'fixed', 8, 255, 0.0180, 0.0130, 0.0162),
    ('clip-convnext-base', 'caltech256', 'fixed', 8, 255, 0.5194, 0.2837, 0.3944),
    ('clip-convnext-base', 'stanford-cars', 'fixed', 8, 255, 0.0130, 0.0110, 0.0125),
    ('clip-convnext-base', 'cub200', 'fixed', 8, 255, 0.0637, 0.0230, 0.0405),
    ('clip-convnext-base', 'stanford-dogs', 'fixed', 8, 255, 0.0836, 0.0397, 0.0598),
    ('clip-convnext-base', 'fgvc-aircraft', 'two-hinge', 8, 255, 0.7920, 0.3450, 0.5909),
    ('clip-convnext-base', 'caltech256', 'two-hinge', 8, 255, 0.7653, 0.3720, 0.5683),
    ('clip-convnext-base', 'stanford-cars', 'two-hinge', 8, 255, 0.9000, 0.5520, 0.7714),
    ('clip-convnext-base', 'cub200', 'two-hinge', 8, 255, 0.7358, 0.2275, 0.4777),
    ('clip-convnext-base', 'stanford-dogs', 'two-hinge', 8, 255, 0.6267, 0.1136, 0.3385);

-- Attempts of a span of time, over all sweeps. They are inserted as time goes on, so that a range of blocks is a
-- range of times: no entry a row is written, and updates stay on their page, because this column never changes.
CREATE INDEX attempt_started ON temper.attempt USING brin (started_at) WITH (pages_per_range = 16, autosummarize = on);

CREATE VIEW reporting.sweep AS
SELECT sweep.id AS sweep_id,
    coalesce(nullif(sweep.display_name, ''), sweep.id::text) AS sweep,
    sweep.owner,
    sweep.priority,
    sweep.labels,
    queue.device_kind,
    sweep.parallel_jobs,
    sweep.created_at,
    sweep.extended_at,
    sweep.paused_at,
    sweep.pause_reason,
    sweep.cancelled_at
FROM temper.sweep JOIN temper.queue ON queue.id = sweep.queue_id;
COMMENT ON VIEW reporting.sweep IS 'Sweeps, a row each, without counts: cheap to list.';
COMMENT ON COLUMN reporting.sweep.sweep_id IS 'The sweep.';
COMMENT ON COLUMN reporting.sweep.sweep IS 'What people call it; its id where it has no name.';
COMMENT ON COLUMN reporting.sweep.owner IS 'Whose share of the workers it takes.';
COMMENT ON COLUMN reporting.sweep.priority IS 'Jobs of sweeps with a higher priority are leased first.';
COMMENT ON COLUMN reporting.sweep.labels IS 'Free labels, an object of strings.';
COMMENT ON COLUMN reporting.sweep.device_kind IS 'The kind of device that it asks for, cpu or cuda; null for any.';
COMMENT ON COLUMN reporting.sweep.parallel_jobs IS 'Jobs of it that may be leased at a time; null for any number.';
COMMENT ON COLUMN reporting.sweep.created_at IS 'When it was submitted.';
COMMENT ON COLUMN reporting.sweep.extended_at IS 'When cells or evaluations were last added; null if never.';
COMMENT ON COLUMN reporting.sweep.paused_at IS 'Since when it is paused; null while it is not.';
COMMENT ON COLUMN reporting.sweep.pause_reason IS 'Why it is paused; empty while it is not, and where a person gave no reason.';
COMMENT ON COLUMN reporting.sweep.cancelled_at IS 'When it was cancelled; null while it is live.';

CREATE VIEW reporting.sweep_progress AS
SELECT sweep.id AS sweep_id,
    coalesce(nullif(sweep.display_name, ''), sweep.id::text) AS sweep,
    sweep.owner,
    CASE
        WHEN sweep.cancelled_at IS NOT NULL THEN 'cancelled'
        WHEN jobs.queued + jobs.leased > 0 THEN CASE WHEN sweep.paused_at IS NULL THEN 'running' ELSE 'paused' END
        WHEN jobs.failed + jobs.cancelled > 0 THEN 'failed'
        ELSE 'succeeded'
    END AS state,
    sweep.created_at,
    jobs.total AS jobs,
    jobs.queued,
    jobs.leased,
    jobs.succeeded,
    jobs.failed,
    jobs.cancelled,
    jobs.last_finished_at,
    jobs.left_seconds,
    jobs.left_seconds / nullif(jobs.leased, 0) AS eta_seconds,
    cells.total AS cells,
    cells.succeeded AS cells_succeeded
FROM temper.sweep
CROSS JOIN LATERAL (
    SELECT coalesce(sum(kind.jobs), 0)::bigint AS total,
        coalesce(sum(kind.queued), 0)::bigint AS queued,
        coalesce(sum(kind.leased), 0)::bigint AS leased,
        coalesce(sum(kind.succeeded), 0)::bigint AS succeeded,
        coalesce(sum(kind.failed), 0)::bigint AS failed,
        coalesce(sum(kind.cancelled), 0)::bigint AS cancelled,
        max(kind.last_finished_at) AS last_finished_at,
        -- A sum passes over what is null: a kind with jobs open and no mean must not be passed over.
        CASE WHEN coalesce(bool_and(kind.open_work = 0 OR kind.mean_seconds IS NOT NULL), true)
            THEN coalesce(sum(kind.open_work * kind.mean_seconds), 0)
        END AS left_seconds
    FROM (
        SELECT count(*) AS jobs,
            count(*) FILTER (WHERE job.state = 'queued') AS queued,
            count(*) FILTER (WHERE job.state = 'leased') AS leased,
            count(*) FILTER (WHERE job.state = 'succeeded') AS succeeded,
            count(*) FILTER (WHERE job.state = 'failed') AS failed,
            count(*) FILTER (WHERE job.state = 'cancelled') AS cancelled,
            max(job.finished_at) AS last_finished_at,
            avg(summary.device_seconds) AS mean_seconds,
            coalesce(sum(1 - job.epochs_done::double precision / greatest(job.epochs, 1))
                FILTER (WHERE job.state IN ('queued', 'leased')), 0) AS open_work
        FROM temper.sweep_job AS link
        JOIN temper.job ON job.id = link.job_id
        LEFT JOIN temper.job_summary AS summary ON summary.job_id = link.job_id
        WHERE link.sweep_id = sweep.id GROUP BY job.kind
    ) AS kind
) AS jobs
CROSS JOIN LATERAL (
    SELECT count(*) AS total,
        count(*) FILTER (WHERE train.state = 'succeeded' AND NOT EXISTS (
            SELECT FROM temper.cell_evaluation AS evaluation
            JOIN temper.job ON job.id = evaluation.job_id
            WHERE evaluation.sweep_id = cell.sweep_id AND evaluation.cell = cell.ordinal
                AND job.state <> 'succeeded'
        )) AS succeeded
    FROM temper.sweep_cell AS cell JOIN temper.job AS train ON train.id = cell.train_job
    WHERE cell.sweep_id = sweep.id
) AS cells;
COMMENT ON VIEW reporting.sweep_progress IS 'How far sweeps are, a row each. Counts every job of the sweep: ask for one sweep, or a few.';
COMMENT ON COLUMN reporting.sweep_progress.sweep_id IS 'The sweep.';
COMMENT ON COLUMN reporting.sweep_progress.sweep IS 'What people call it; its id where it has no name.';
COMMENT ON COLUMN reporting.sweep_progress.owner IS 'Whose share of the workers it takes.';
COMMENT ON COLUMN reporting.sweep_progress.state IS 'running, paused, succeeded, failed (nothing is left to do, and some jobs did not succeed) or cancelled.';
COMMENT ON COLUMN reporting.sweep_progress.created_at IS 'When it was submitted.';
COMMENT ON COLUMN reporting.sweep_progress.jobs IS 'Jobs that it wants.';
COMMENT ON COLUMN reporting.sweep_progress.queued IS 'Jobs that wait for a worker, or for the job that they depend on.';
COMMENT ON COLUMN reporting.sweep_progress.leased IS 'Jobs that a worker holds.';
COMMENT ON COLUMN reporting.sweep_progress.succeeded IS 'Jobs with an accepted result.';
COMMENT ON COLUMN reporting.sweep_progress.failed IS 'Jobs given up.';
COMMENT ON COLUMN reporting.sweep_progress.cancelled IS 'Jobs not wanted any more, or dependent on one that failed.';
COMMENT ON COLUMN reporting.sweep_progress.last_finished_at IS 'When one of its jobs last succeeded, failed or was cancelled; null if none has.';
COMMENT ON COLUMN reporting.sweep_progress.left_seconds IS 'Device-seconds that are left, by what its jobs of the same kind took on average; null while none of a kind has succeeded.';
COMMENT ON COLUMN reporting.sweep_progress.eta_seconds IS 'Seconds until it is done, with as many workers as hold its jobs now; null while that is none, or left_seconds is null.';
COMMENT ON COLUMN reporting.sweep_progress.cells IS 'Cells in all.';
COMMENT ON COLUMN reporting.sweep_progress.cells_succeeded IS 'Cells whose training and evaluations have all succeeded.';

-- Of a view only what a query asks for is computed: scalar subqueries, so that listing an axis counts nothing.
CREATE VIEW reporting.cell AS
SELECT cell.sweep_id,
    coalesce(nullif(sweep.display_name, ''), sweep.id::text) AS sweep,
    cell.ordinal AS cell,
    cell.model,
    cell.dataset,
    cell.schedule,
    cell.target_num || '/' || cell.target_den AS target,
    cell.target_num::double precision / cell.target_den AS target_epsilon,
    cell.seed,
    cell.hyperparameters,
    cell.train_job,
    (SELECT job.state FROM temper.job WHERE job.id = cell.train_job) AS train_state,
    (
        SELECT count(*) FROM temper.cell_evaluation AS evaluation
        WHERE evaluation.sweep_id = cell.sweep_id AND evaluation.cell = cell.ordinal
    ) AS evaluations,
    (
        SELECT count(*) FROM temper.cell_evaluation AS evaluation
        JOIN temper.job ON job.id = evaluation.job_id AND job.state = 'succeeded'
        WHERE evaluation.sweep_id = cell.sweep_id AND evaluation.cell = cell.ordinal
    ) AS evaluations_succeeded
FROM temper.sweep_cell AS cell JOIN temper.sweep ON sweep.id = cell.sweep_id;
COMMENT ON VIEW reporting.cell IS 'Cells of sweeps, a row each: one training and its evaluations. What the axes of a sweep are is read from here.';
COMMENT ON COLUMN reporting.cell.sweep_id IS 'The sweep.';
COMMENT ON COLUMN reporting.cell.sweep IS 'What people call the sweep; its id where it has no name.';
COMMENT ON COLUMN reporting.cell.cell IS 'Place of the cell in the sweep, from 0.';
COMMENT ON COLUMN reporting.cell.model IS 'Catalog name of the model.';
COMMENT ON COLUMN reporting.cell.dataset IS 'Catalog name of the dataset.';
COMMENT ON COLUMN reporting.cell.schedule IS 'Epsilon schedule, for instance two-hinge.';
COMMENT ON COLUMN reporting.cell.target IS 'Target strength, for instance 4/255.';
COMMENT ON COLUMN reporting.cell.target_epsilon IS 'Target strength as a number, in pixel units of [0, 1].';
COMMENT ON COLUMN reporting.cell.seed IS 'Seed.';
COMMENT ON COLUMN reporting.cell.hyperparameters IS 'Index into the sweep''s hyper-parameters, from 0.';
COMMENT ON COLUMN reporting.cell.train_job IS 'Its training.';
COMMENT ON COLUMN reporting.cell.train_state IS 'Where its training stands.';
COMMENT ON COLUMN reporting.cell.evaluations IS 'Its evaluations.';
COMMENT ON COLUMN reporting.cell.evaluations_succeeded IS 'Those of them that have succeeded.';

CREATE VIEW reporting.job AS
SELECT cell.sweep_id,
    coalesce(nullif(sweep.display_name, ''), sweep.id::text) AS sweep,
    cell.ordinal AS cell,
    cell.model,
    cell.dataset,
    cell.schedule,
    cell.target_num || '/' || cell.target_den AS target,
    cell.target_num::double precision / cell.target_den AS target_epsilon,
    cell.seed,
    cell.hyperparameters,
    NULL::integer AS evaluation,
    job.id AS job_id,
    job.kind,
    job.title,
    job.state,
    job.blocked_by,
    job.attempts,
    job.epochs,
    job.epochs_done,
    job.message,
    job.created_at,
    job.finished_at
FROM temper.sweep_cell AS cell
JOIN temper.sweep ON sweep.id = cell.sweep_id
JOIN temper.job ON job.id = cell.train_job
UNION ALL
SELECT cell.sweep_id,
    coalesce(nullif(sweep.display_name, ''), sweep.id::text),
    cell.ordinal,
    cell.model,
    cell.dataset,
    cell.schedule,
    cell.target_num || '/' || cell.target_den,
    cell.target_num::double precision / cell.target_den,
    cell.seed,
    cell.hyperparameters,
    evaluation.evaluation,
    job.id,
    job.kind,
    job.title,
    job.state,
    job.blocked_by,
    job.attempts,
    job.epochs,
    job.epochs_done,
    job.message,
    job.created_at,
    job.finished_at
FROM temper.sweep_cell AS cell
JOIN temper.sweep ON sweep.id = cell.sweep_id
JOIN temper.cell_evaluation AS evaluation ON evaluation.sweep_id = cell.sweep_id AND evaluation.cell = cell.ordinal
JOIN temper.job ON job.id = evaluation.job_id;
COMMENT ON VIEW reporting.job IS 'Jobs by the cells that want them: a training and its evaluations. A job that several cells share has a row in each: count distinct job_id.';
COMMENT ON COLUMN reporting.job.sweep_id IS 'The sweep.';
COMMENT ON COLUMN reporting.job.sweep IS 'What people call the sweep; its id where it has no name.';
COMMENT ON COLUMN reporting.job.cell IS 'Place of the cell in the sweep, from 0.';
COMMENT ON COLUMN reporting.job.model IS 'Catalog name of the model.';
COMMENT ON COLUMN reporting.job.dataset IS 'Catalog name of the dataset.';
COMMENT ON COLUMN reporting.job.schedule IS 'Epsilon schedule, for instance two-hinge.';
COMMENT ON COLUMN reporting.job.target IS 'Target strength, for instance 4/255.';
COMMENT ON COLUMN reporting.job.target_epsilon IS 'Target strength as a number, in pixel units of [0, 1].';
COMMENT ON COLUMN reporting.job.seed IS 'Seed.';
COMMENT ON COLUMN reporting.job.hyperparameters IS 'Index into the sweep''s hyper-parameters, from 0.';
COMMENT ON COLUMN reporting.job.evaluation IS 'Index into the sweep''s evaluations, from 0; null of a training.';
COMMENT ON COLUMN reporting.job.job_id IS 'The job.';
COMMENT ON COLUMN reporting.job.kind IS 'train or evaluate.';
COMMENT ON COLUMN reporting.job.title IS 'A line for people: model, dataset, schedule, seed.';
COMMENT ON COLUMN reporting.job.state IS 'queued, leased, succeeded, failed or cancelled.';
COMMENT ON COLUMN reporting.job.blocked_by IS 'Jobs that it waits for.';
COMMENT ON COLUMN reporting.job.attempts IS 'Attempts made, the present one included.';
COMMENT ON COLUMN reporting.job.epochs IS 'Epochs that a training has; 0 for an evaluation.';
COMMENT ON COLUMN reporting.job.epochs_done IS 'Epochs that a training has reported.';
COMMENT ON COLUMN reporting.job.message IS 'Why it failed or was cancelled; else empty.';
COMMENT ON COLUMN reporting.job.created_at IS 'When a sweep first asked for it.';
COMMENT ON COLUMN reporting.job.finished_at IS 'When it succeeded, failed or was cancelled; null before.';

CREATE VIEW reporting.cost AS
SELECT cell.sweep_id,
    coalesce(nullif(sweep.display_name, ''), sweep.id::text) AS sweep,
    cell.ordinal AS cell,
    cell.model,
    cell.dataset,
    cell.schedule,
    cell.target_num || '/' || cell.target_den AS target,
    cell.target_num::double precision / cell.target_den AS target_epsilon,
    cell.seed,
    cell.hyperparameters,
    NULL::integer AS evaluation,
    job.id AS job_id,
    job.kind,
    job.state,
    spent.attempts,
    spent.device_seconds,
    spent.wasted_seconds
FROM temper.sweep_cell AS cell
JOIN temper.sweep ON sweep.id = cell.sweep_id
JOIN temper.job ON job.id = cell.train_job
CROSS JOIN LATERAL (
    SELECT count(*) AS attempts,
        coalesce(sum(coalesce(attempt.device_seconds, extract(epoch FROM now() - attempt.started_at))), 0) AS device_seconds,
        coalesce(sum(attempt.device_seconds) FILTER (WHERE attempt.outcome <> 'succeeded'), 0) AS wasted_seconds
    FROM temper.attempt WHERE attempt.job_id = job.id
) AS spent
UNION ALL
SELECT cell.sweep_id,
    coalesce(nullif(sweep.display_name, ''), sweep.id::text),
    cell.ordinal,
    cell.model,
    cell.dataset,
    cell.schedule,
    cell.target_num || '/' || cell.target_den,
    cell.target_num::double precision / cell.target_den,
    cell.seed,
    cell.hyperparameters,
    evaluation.evaluation,
    job.id,
    job.kind,
    job.state,
    spent.attempts,
    spent.device_seconds,
    spent.wasted_seconds
FROM temper.sweep_cell AS cell
JOIN temper.sweep ON sweep.id = cell.sweep_id
JOIN temper.cell_evaluation AS evaluation ON evaluation.sweep_id = cell.sweep_id AND evaluation.cell = cell.ordinal
JOIN temper.job ON job.id = evaluation.job_id
CROSS JOIN LATERAL (
    SELECT count(*) AS attempts,
        coalesce(sum(coalesce(attempt.device_seconds, extract(epoch FROM now() - attempt.started_at))), 0) AS device_seconds,
        coalesce(sum(attempt.device_seconds) FILTER (WHERE attempt.outcome <> 'succeeded'), 0) AS wasted_seconds
    FROM temper.attempt WHERE attempt.job_id = job.id
) AS spent;
COMMENT ON VIEW reporting.cost IS 'What the jobs of cells cost. A job that several cells share has a row in each, with the whole of its cost: add up over distinct job_id.';
COMMENT ON COLUMN reporting.cost.sweep_id IS 'The sweep.';
COMMENT ON COLUMN reporting.cost.sweep IS 'What people call the sweep; its id where it has no name.';
COMMENT ON COLUMN reporting.cost.cell IS 'Place of the cell in the sweep, from 0.';
COMMENT ON COLUMN reporting.cost.model IS 'Catalog name of the model.';
COMMENT ON COLUMN reporting.cost.dataset IS 'Catalog name of the dataset.';
COMMENT ON COLUMN reporting.cost.schedule IS 'Epsilon schedule, for instance two-hinge.';
COMMENT ON COLUMN reporting.cost.target IS 'Target strength, for instance 4/255.';
COMMENT ON COLUMN reporting.cost.target_epsilon IS 'Target strength as a number, in pixel units of [0, 1].';
COMMENT ON COLUMN reporting.cost.seed IS 'Seed.';
COMMENT ON COLUMN reporting.cost.hyperparameters IS 'Index into the sweep''s hyper-parameters, from 0.';
COMMENT ON COLUMN reporting.cost.evaluation IS 'Index into the sweep''s evaluations, from 0; null of a training.';
COMMENT ON COLUMN reporting.cost.job_id IS 'The job.';
COMMENT ON COLUMN reporting.cost.kind IS 'train or evaluate.';
COMMENT ON COLUMN reporting.cost.state IS 'queued, leased, succeeded, failed or cancelled.';
COMMENT ON COLUMN reporting.cost.attempts IS 'Attempts made, the present one included.';
COMMENT ON COLUMN reporting.cost.device_seconds IS 'Seconds for which its attempts held a device, wasted ones and the present attempt''s so far included.';
COMMENT ON COLUMN reporting.cost.wasted_seconds IS 'Those of them that went to attempts that ended without an accepted result.';

CREATE VIEW reporting.epoch AS
SELECT cell.sweep_id,
    coalesce(nullif(sweep.display_name, ''), sweep.id::text) AS sweep,
    cell.ordinal AS cell,
    cell.model,
    cell.dataset,
    cell.schedule,
    cell.target_num || '/' || cell.target_den AS target,
    cell.target_num::double precision / cell.target_den AS target_epsilon,
    cell.seed,
    cell.hyperparameters,
    metric.job_id,
    metric.epoch,
    metric.epsilon,
    metric.learning_rate,
    metric.train_loss,
    metric.validation_accuracy,
    metric.validation_robust_accuracy,
    metric.images_per_second,
    metric.loading_share,
    metric.reported_at,
    metric.epoch IS NOT DISTINCT FROM first.epoch AS onset
FROM temper.sweep_cell AS cell
JOIN temper.sweep ON sweep.id = cell.sweep_id
LEFT JOIN LATERAL (
    SELECT earlier.epoch FROM temper.epoch_metric AS earlier
    WHERE earlier.job_id = cell.train_job AND earlier.validation_accuracy > 0.05 ORDER BY earlier.epoch LIMIT 1
) AS first ON true
JOIN temper.epoch_metric AS metric ON metric.job_id = cell.train_job;
COMMENT ON VIEW reporting.epoch IS 'Epochs of trainings, as workers report them, a row for each epoch of each cell.';
COMMENT ON COLUMN reporting.epoch.sweep_id IS 'The sweep.';
COMMENT ON COLUMN reporting.epoch.sweep IS 'What people call the sweep; its id where it has no name.';
COMMENT ON COLUMN reporting.epoch.cell IS 'Place of the cell in the sweep, from 0.';
COMMENT ON COLUMN reporting.epoch.model IS 'Catalog name of the model.';
COMMENT ON COLUMN reporting.epoch.dataset IS 'Catalog name of the dataset.';
COMMENT ON COLUMN reporting.epoch.schedule IS 'Epsilon schedule, for instance two-hinge.';
COMMENT ON COLUMN reporting.epoch.target IS 'Target strength, for instance 4/255.';
COMMENT ON COLUMN reporting.epoch.target_epsilon IS 'Target strength as a number, in pixel units of [0, 1].';
COMMENT ON COLUMN reporting.epoch.seed IS 'Seed.';
COMMENT ON COLUMN reporting.epoch.hyperparameters IS 'Index into the sweep''s hyper-parameters, from 0.';
COMMENT ON COLUMN reporting.epoch.job_id IS 'The training.';
COMMENT ON COLUMN reporting.epoch.epoch IS 'Which epoch, from 0.';
COMMENT ON COLUMN reporting.epoch.epsilon IS 'Strength of the attack at the epoch''s last step, in pixel units of [0, 1].';
COMMENT ON COLUMN reporting.epoch.learning_rate IS 'Learning rate of the pretrained part at the epoch''s last step.';
COMMENT ON COLUMN reporting.epoch.train_loss IS 'Mean cross-entropy over the epoch''s samples, as trained on.';
COMMENT ON COLUMN reporting.epoch.validation_accuracy IS 'Share of the validation split classified rightly, in [0, 1]; null for an empty split.';
COMMENT ON COLUMN reporting.epoch.validation_robust_accuracy IS 'The same under attack at the target strength; null where there is no attack.';
COMMENT ON COLUMN reporting.epoch.images_per_second IS 'Training images a second, validation not counted.';
COMMENT ON COLUMN reporting.epoch.loading_share IS 'Share of the training time spent waiting for images, in [0, 1].';
COMMENT ON COLUMN reporting.epoch.reported_at IS 'When it was reported.';
COMMENT ON COLUMN reporting.epoch.onset IS 'Whether the adaptation to the task sets in here: the first epoch with a validation accuracy above 5 %.';

CREATE VIEW reporting.curve AS
SELECT cell.sweep_id,
    coalesce(nullif(sweep.display_name, ''), sweep.id::text) AS sweep,
    cell.ordinal AS cell,
    cell.model,
    cell.dataset,
    cell.schedule,
    cell.target_num || '/' || cell.target_den AS target,
    cell.target_num::double precision / cell.target_den AS target_epsilon,
    cell.seed,
    cell.hyperparameters,
    evaluation.evaluation,
    evaluation.job_id,
    point.ordinal AS point,
    point.epsilon_num || '/' || point.epsilon_den AS epsilon_text,
    point.epsilon_num::double precision / point.epsilon_den AS epsilon,
    point.correct,
    point.samples,
    point.correct::double precision / point.samples AS accuracy
FROM temper.sweep_cell AS cell
JOIN temper.sweep ON sweep.id = cell.sweep_id
JOIN temper.cell_evaluation AS evaluation ON evaluation.sweep_id = cell.sweep_id AND evaluation.cell = cell.ordinal
JOIN temper.evaluation AS point ON point.job_id = evaluation.job_id;
COMMENT ON VIEW reporting.curve IS 'Accuracy against epsilon, a row for each point of each evaluation that has succeeded.';
COMMENT ON COLUMN reporting.curve.sweep_id IS 'The sweep.';
COMMENT ON COLUMN reporting.curve.sweep IS 'What people call the sweep; its id where it has no name.';
COMMENT ON COLUMN reporting.curve.cell IS 'Place of the cell in the sweep, from 0.';
COMMENT ON COLUMN reporting.curve.model IS 'Catalog name of the model.';
COMMENT ON COLUMN reporting.curve.dataset IS 'Catalog name of the dataset.';
COMMENT ON COLUMN reporting.curve.schedule IS 'Epsilon schedule, for instance two-hinge.';
COMMENT ON COLUMN reporting.curve.target IS 'Target strength, for instance 4/255.';
COMMENT ON COLUMN reporting.curve.target_epsilon IS 'Target strength as a number, in pixel units of [0, 1].';
COMMENT ON COLUMN reporting.curve.seed IS 'Seed.';
COMMENT ON COLUMN reporting.curve.hyperparameters IS 'Index into the sweep''s hyper-parameters, from 0.';
COMMENT ON COLUMN reporting.curve.evaluation IS 'Index into the sweep''s evaluations, from 0.';
COMMENT ON COLUMN reporting.curve.job_id IS 'The evaluation''s job.';
COMMENT ON COLUMN reporting.curve.point IS 'Place on the grid, from 0, where epsilon is 0.';
COMMENT ON COLUMN reporting.curve.epsilon_text IS 'Strength of the attack as an exact fraction, for instance 2/255.';
COMMENT ON COLUMN reporting.curve.epsilon IS 'Strength of the attack as a number, in pixel units of [0, 1].';
COMMENT ON COLUMN reporting.curve.correct IS 'Samples classified rightly at this strength.';
COMMENT ON COLUMN reporting.curve.samples IS 'Samples in all.';
COMMENT ON COLUMN reporting.curve.accuracy IS 'Share of them classified rightly, in [0, 1].';

CREATE VIEW reporting.robustness AS
SELECT cell.sweep_id,
    coalesce(nullif(sweep.display_name, ''), sweep.id::text) AS sweep,
    cell.ordinal AS cell,
    cell.model,
    cell.dataset,
    cell.schedule,
    cell.target_num || '/' || cell.target_den AS target,
    cell.target_num::double precision / cell.target_den AS target_epsilon,
    cell.seed,
    cell.hyperparameters,
    evaluation.evaluation,
    evaluation.job_id,
    (
        SELECT point.epsilon_num || '/' || point.epsilon_den FROM temper.evaluation AS point
        WHERE point.job_id = evaluation.job_id ORDER BY point.ordinal DESC LIMIT 1
    ) AS grid_end,
    summary.clean_accuracy,
    summary.robust_accuracy,
    summary.expected_robustness,
    coalesce(summary.masking_flags, '{}') AS masking_flags,
    summary.audit_samples,
    summary.audit_gap,
    summary.device_seconds,
    summary.completed_at
FROM temper.sweep_cell AS cell
JOIN temper.sweep ON sweep.id = cell.sweep_id
JOIN temper.cell_evaluation AS evaluation ON evaluation.sweep_id = cell.sweep_id AND evaluation.cell = cell.ordinal
LEFT JOIN temper.job_summary AS summary ON summary.job_id = evaluation.job_id;
COMMENT ON VIEW reporting.robustness IS 'What evaluations come to, a row for each evaluation of each cell, measured or not: null is what is missing, and is to be counted.';
COMMENT ON COLUMN reporting.robustness.sweep_id IS 'The sweep.';
COMMENT ON COLUMN reporting.robustness.sweep IS 'What people call the sweep; its id where it has no name.';
COMMENT ON COLUMN reporting.robustness.cell IS 'Place of the cell in the sweep, from 0.';
COMMENT ON COLUMN reporting.robustness.model IS 'Catalog name of the model.';
COMMENT ON COLUMN reporting.robustness.dataset IS 'Catalog name of the dataset.';
COMMENT ON COLUMN reporting.robustness.schedule IS 'Epsilon schedule, for instance two-hinge.';
COMMENT ON COLUMN reporting.robustness.target IS 'Target strength, for instance 4/255.';
COMMENT ON COLUMN reporting.robustness.target_epsilon IS 'Target strength as a number, in pixel units of [0, 1].';
COMMENT ON COLUMN reporting.robustness.seed IS 'Seed.';
COMMENT ON COLUMN reporting.robustness.hyperparameters IS 'Index into the sweep''s hyper-parameters, from 0.';
COMMENT ON COLUMN reporting.robustness.evaluation IS 'Index into the sweep''s evaluations, from 0.';
COMMENT ON COLUMN reporting.robustness.job_id IS 'The evaluation''s job.';
COMMENT ON COLUMN reporting.robustness.grid_end IS 'Strength at the grid''s end, up to which expected robustness is taken, for instance 4/255; null before it is measured.';
COMMENT ON COLUMN reporting.robustness.clean_accuracy IS 'Accuracy without a perturbation, in [0, 1]; null before it is measured.';
COMMENT ON COLUMN reporting.robustness.robust_accuracy IS 'Accuracy at the grid''s end, in [0, 1]; null before it is measured.';
COMMENT ON COLUMN reporting.robustness.expected_robustness IS 'Mean accuracy over the strengths of the grid, by the trapezoidal rule, in [0, 1]; null before it is measured.';
COMMENT ON COLUMN reporting.robustness.masking_flags IS 'Signs that the model hides its gradients, so that the accuracy may be too high.';
COMMENT ON COLUMN reporting.robustness.audit_samples IS 'Samples that an evaluation by bisection measured exactly as well; null without an audit.';
COMMENT ON COLUMN reporting.robustness.audit_gap IS 'Expected robustness by bisection less that by exact measurement; null without an audit.';
COMMENT ON COLUMN reporting.robustness.device_seconds IS 'Device-seconds of all of its attempts; null before it is measured.';
COMMENT ON COLUMN reporting.robustness.completed_at IS 'When the result was accepted; null before.';

-- Gathered and paired within each group: joined with itself, a sweep of 1,000 cells took a second, for want of an index.
CREATE VIEW reporting.comparison AS
SELECT alike.sweep_id,
    alike.sweep,
    alike.model,
    alike.dataset,
    alike.target,
    alike.target_epsilon,
    alike.seed,
    alike.hyperparameters,
    alike.evaluation,
    base.schedule AS base_schedule,
    other.schedule,
    base.clean_accuracy AS base_clean_accuracy,
    other.clean_accuracy,
    other.clean_accuracy - base.clean_accuracy AS clean_difference,
    base.robust_accuracy AS base_robust_accuracy,
    other.robust_accuracy,
    other.robust_accuracy - base.robust_accuracy AS robust_difference,
    base.expected_robustness AS base_expected_robustness,
    other.expected_robustness,
    other.expected_robustness - base.expected_robustness AS expected_difference
FROM (
    SELECT sweep_id, sweep, model, dataset, target, target_epsilon, seed, hyperparameters, evaluation,
        array_agg(schedule) AS schedules, array_agg(clean_accuracy) AS clean, array_agg(robust_accuracy) AS robust,
        array_agg(expected_robustness) AS expected
    FROM reporting.robustness
    GROUP BY sweep_id, sweep, model, dataset, target, target_epsilon, seed, hyperparameters, evaluation
) AS alike
CROSS JOIN LATERAL unnest(alike.schedules, alike.clean, alike.robust, alike.expected)
    AS base (schedule, clean_accuracy, robust_accuracy, expected_robustness)
JOIN LATERAL unnest(alike.schedules, alike.clean, alike.robust, alike.expected)
    AS other (schedule, clean_accuracy, robust_accuracy, expected_robustness) ON other.schedule <> base.schedule;
COMMENT ON VIEW reporting.comparison IS 'Two schedules beside each other, a row for each pair of evaluations that differ in the schedule alone. Every ordered pair of schedules is there: filter by both. Null is what is not measured.';
COMMENT ON COLUMN reporting.comparison.sweep_id IS 'The sweep.';
COMMENT ON COLUMN reporting.comparison.sweep IS 'What people call the sweep; its id where it has no name.';
COMMENT ON COLUMN reporting.comparison.model IS 'Catalog name of the model.';
COMMENT ON COLUMN reporting.comparison.dataset IS 'Catalog name of the dataset.';
COMMENT ON COLUMN reporting.comparison.target IS 'Target strength, for instance 4/255.';
COMMENT ON COLUMN reporting.comparison.target_epsilon IS 'Target strength as a number, in pixel units of [0, 1].';
COMMENT ON COLUMN reporting.comparison.seed IS 'Seed.';
COMMENT ON COLUMN reporting.comparison.hyperparameters IS 'Index into the sweep''s hyper-parameters, from 0.';
COMMENT ON COLUMN reporting.comparison.evaluation IS 'Index into the sweep''s evaluations, from 0.';
COMMENT ON COLUMN reporting.comparison.base_schedule IS 'The schedule that is compared with, for instance fixed.';
COMMENT ON COLUMN reporting.comparison.schedule IS 'The schedule that is compared, for instance two-hinge.';
COMMENT ON COLUMN reporting.comparison.base_clean_accuracy IS 'Accuracy without a perturbation under the base schedule, in [0, 1].';
COMMENT ON COLUMN reporting.comparison.clean_accuracy IS 'The same under the schedule.';
COMMENT ON COLUMN reporting.comparison.clean_difference IS 'That of the schedule less that of the base.';
COMMENT ON COLUMN reporting.comparison.base_robust_accuracy IS 'Accuracy at the grid''s end under the base schedule, in [0, 1].';
COMMENT ON COLUMN reporting.comparison.robust_accuracy IS 'The same under the schedule.';
COMMENT ON COLUMN reporting.comparison.robust_difference IS 'That of the schedule less that of the base.';
COMMENT ON COLUMN reporting.comparison.base_expected_robustness IS 'Expected robustness under the base schedule, in [0, 1].';
COMMENT ON COLUMN reporting.comparison.expected_robustness IS 'The same under the schedule.';
COMMENT ON COLUMN reporting.comparison.expected_difference IS 'That of the schedule less that of the base.';

CREATE VIEW reporting.failure AS
SELECT link.sweep_id,
    coalesce(nullif(sweep.display_name, ''), sweep.id::text) AS sweep,
    attempt.job_id,
    job.title,
    job.kind,
    job.state,
    attempt.number AS attempt,
    attempt.worker,
    attempt.device,
    attempt.outcome,
    attempt.failure_class,
    attempt.message,
    attempt.started_at,
    attempt.ended_at,
    attempt.device_seconds
FROM temper.sweep_job AS link
JOIN temper.sweep ON sweep.id = link.sweep_id
JOIN temper.job ON job.id = link.job_id
JOIN temper.attempt ON attempt.job_id = link.job_id AND attempt.outcome IN ('failed', 'lost');
COMMENT ON VIEW reporting.failure IS 'Attempts at jobs of sweeps that failed or were lost, a row for each sweep that wants the job.';
COMMENT ON COLUMN reporting.failure.sweep_id IS 'The sweep.';
COMMENT ON COLUMN reporting.failure.sweep IS 'What people call the sweep; its id where it has no name.';
COMMENT ON COLUMN reporting.failure.job_id IS 'The job.';
COMMENT ON COLUMN reporting.failure.title IS 'A line for people: model, dataset, schedule, seed.';
COMMENT ON COLUMN reporting.failure.kind IS 'train or evaluate.';
COMMENT ON COLUMN reporting.failure.state IS 'Where the job stands now: an attempt that failed may have been made good.';
COMMENT ON COLUMN reporting.failure.attempt IS 'Number of the attempt, from 1.';
COMMENT ON COLUMN reporting.failure.worker IS 'Name of the worker.';
COMMENT ON COLUMN reporting.failure.device IS 'Its device.';
COMMENT ON COLUMN reporting.failure.outcome IS 'failed, or lost: the lease ran out.';
COMMENT ON COLUMN reporting.failure.failure_class IS 'preempted, infrastructure, lost, out-of-memory, diverged, bad-input or code.';
COMMENT ON COLUMN reporting.failure.message IS 'What the worker said of its end.';
COMMENT ON COLUMN reporting.failure.started_at IS 'When the lease was given.';
COMMENT ON COLUMN reporting.failure.ended_at IS 'When it ended.';
COMMENT ON COLUMN reporting.failure.device_seconds IS 'Seconds for which it held its device.';

CREATE VIEW reporting.attempt AS
SELECT attempt.job_id,
    attempt.number AS attempt,
    attempt.worker,
    attempt.device,
    split_part(attempt.device, ':', 1) AS device_kind,
    attempt.started_at,
    attempt.ended_at,
    attempt.outcome,
    attempt.failure_class,
    attempt.message,
    attempt.device_seconds,
    attempt.peak_memory_bytes
FROM temper.attempt;
COMMENT ON VIEW reporting.attempt IS 'Workers'' tries at jobs, a row each, of all sweeps. Filter by started_at, by which they are indexed.';
COMMENT ON COLUMN reporting.attempt.job_id IS 'The job.';
COMMENT ON COLUMN reporting.attempt.attempt IS 'Number of the attempt, from 1.';
COMMENT ON COLUMN reporting.attempt.worker IS 'Name of the worker.';
COMMENT ON COLUMN reporting.attempt.device IS 'Its device, for instance cpu or cuda:0.';
COMMENT ON COLUMN reporting.attempt.device_kind IS 'The kind of the device: cpu or cuda.';
COMMENT ON COLUMN reporting.attempt.started_at IS 'When the lease was given.';
COMMENT ON COLUMN reporting.attempt.ended_at IS 'When it ended; null while it runs.';
COMMENT ON COLUMN reporting.attempt.outcome IS 'succeeded, failed, released, lost or cancelled; null while it runs.';
COMMENT ON COLUMN reporting.attempt.failure_class IS 'Why it failed or was lost; else null.';
COMMENT ON COLUMN reporting.attempt.message IS 'What the worker said of its end.';
COMMENT ON COLUMN reporting.attempt.device_seconds IS 'Seconds for which it held its device; null while it runs.';
COMMENT ON COLUMN reporting.attempt.peak_memory_bytes IS 'The most memory of the device that it used; null when not known.';

CREATE VIEW reporting.worker AS
SELECT worker.incarnation,
    worker.name AS worker,
    worker.device,
    worker.device_kind,
    worker.labels,
    worker.memory_bytes,
    worker.free_memory_bytes,
    worker.registered_at,
    worker.last_seen_at,
    extract(epoch FROM now() - worker.last_seen_at)::double precision AS seen_age_seconds,
    worker.ends_at,
    (SELECT count(*) FROM temper.lease WHERE lease.incarnation = worker.incarnation) AS leases
FROM temper.worker;
COMMENT ON VIEW reporting.worker IS 'Starts of workers, a row each: a worker that was started again has a row for each start. Filter by last_seen_at, by which they are indexed.';
COMMENT ON COLUMN reporting.worker.incarnation IS 'Fresh each start of the process.';
COMMENT ON COLUMN reporting.worker.worker IS 'What people call the worker; the same over its starts.';
COMMENT ON COLUMN reporting.worker.device IS 'Its device, for instance cpu or cuda:0.';
COMMENT ON COLUMN reporting.worker.device_kind IS 'The kind of its device: cpu or cuda.';
COMMENT ON COLUMN reporting.worker.labels IS 'What its operator says of it, an object of strings.';
COMMENT ON COLUMN reporting.worker.memory_bytes IS 'Memory of the device; null when not known.';
COMMENT ON COLUMN reporting.worker.free_memory_bytes IS 'Memory of the device that was free when it last asked for a job; null when not known.';
COMMENT ON COLUMN reporting.worker.registered_at IS 'When it registered.';
COMMENT ON COLUMN reporting.worker.last_seen_at IS 'When it was last heard of, to within seconds.';
COMMENT ON COLUMN reporting.worker.seen_age_seconds IS 'Seconds since it was last heard of.';
COMMENT ON COLUMN reporting.worker.ends_at IS 'When its time on the machine is over; null for never.';
COMMENT ON COLUMN reporting.worker.leases IS 'Jobs that it holds.';

CREATE VIEW reporting.lease AS
SELECT lease.job_id,
    job.title,
    job.kind,
    lease.owner,
    lease.attempt,
    attempt.worker,
    attempt.device,
    split_part(attempt.device, ':', 1) AS device_kind,
    job.epochs,
    job.epochs_done,
    attempt.started_at,
    lease.expires_at,
    lease.last_heartbeat_at,
    extract(epoch FROM now() - lease.last_heartbeat_at)::double precision AS heartbeat_age_seconds,
    lease.progress_at,
    extract(epoch FROM now() - lease.progress_at)::double precision AS progress_age_seconds
FROM temper.lease
JOIN temper.job ON job.id = lease.job_id
JOIN temper.attempt ON attempt.job_id = lease.job_id AND attempt.number = lease.attempt;
COMMENT ON VIEW reporting.lease IS 'Jobs that workers hold now, a row each.';
COMMENT ON COLUMN reporting.lease.job_id IS 'The job.';
COMMENT ON COLUMN reporting.lease.title IS 'A line for people: model, dataset, schedule, seed.';
COMMENT ON COLUMN reporting.lease.kind IS 'train or evaluate.';
COMMENT ON COLUMN reporting.lease.owner IS 'Against whose share of the workers it counts.';
COMMENT ON COLUMN reporting.lease.attempt IS 'Number of the attempt, from 1.';
COMMENT ON COLUMN reporting.lease.worker IS 'Name of the worker.';
COMMENT ON COLUMN reporting.lease.device IS 'Its device.';
COMMENT ON COLUMN reporting.lease.device_kind IS 'The kind of the device: cpu or cuda.';
COMMENT ON COLUMN reporting.lease.epochs IS 'Epochs that a training has; 0 for an evaluation.';
COMMENT ON COLUMN reporting.lease.epochs_done IS 'Epochs that a training has reported.';
COMMENT ON COLUMN reporting.lease.started_at IS 'When the lease was given.';
COMMENT ON COLUMN reporting.lease.expires_at IS 'When it may be taken back, unless a heartbeat comes first.';
COMMENT ON COLUMN reporting.lease.last_heartbeat_at IS 'When the worker last extended it.';
COMMENT ON COLUMN reporting.lease.heartbeat_age_seconds IS 'Seconds since then.';
COMMENT ON COLUMN reporting.lease.progress_at IS 'When the worker last reported an epoch or a checkpoint.';
COMMENT ON COLUMN reporting.lease.progress_age_seconds IS 'Seconds since then.';

CREATE VIEW reporting.queue AS
SELECT queue.id AS queue_id,
    queue.owner,
    coalesce(queue.device_kind, 'any') AS device_kind,
    queue.labels,
    standing.state,
    standing.jobs,
    standing.oldest_at,
    extract(epoch FROM now() - standing.oldest_at)::double precision AS oldest_age_seconds
FROM temper.queue
JOIN (
    -- Jobs are numbered as they are asked for, so that the partial index of the claim is all that is read.
    SELECT ready.queue_id, 'ready' AS state, ready.jobs,
        (SELECT job.created_at FROM temper.job WHERE job.id = ready.oldest) AS oldest_at
    FROM (
        SELECT job.queue_id, count(*) AS jobs, min(job.id) AS oldest FROM temper.job
        WHERE job.state = 'queued' AND job.wanted AND job.blocked_by = 0 GROUP BY job.queue_id
    ) AS ready
    UNION ALL
    SELECT job.queue_id, 'leased', count(*), min(attempt.started_at)
    FROM temper.lease
    JOIN temper.job ON job.id = lease.job_id
    JOIN temper.attempt ON attempt.job_id = lease.job_id AND attempt.number = lease.attempt
    GROUP BY job.queue_id
) AS standing ON standing.queue_id = queue.id;
COMMENT ON VIEW reporting.queue IS 'What waits for workers and what they hold, a row for each queue and state that has jobs.';
COMMENT ON COLUMN reporting.queue.queue_id IS 'Number of the queue: jobs stand in one that have an owner and ask the same of workers.';
COMMENT ON COLUMN reporting.queue.owner IS 'Whose share of the workers its jobs take.';
COMMENT ON COLUMN reporting.queue.device_kind IS 'The kind of device that its jobs want, cpu or cuda; any where they do not say.';
COMMENT ON COLUMN reporting.queue.labels IS 'Labels that a worker must bear, with these values.';
COMMENT ON COLUMN reporting.queue.state IS 'ready: a worker may take them (those that pause after a failure are among them); leased: a worker holds them. Jobs that wait for others, or whose sweeps are all paused, are in neither: see sweep_progress.';
COMMENT ON COLUMN reporting.queue.jobs IS 'How many there are.';
COMMENT ON COLUMN reporting.queue.oldest_at IS 'When the oldest of them was first asked for; of leased ones, when the first lease was given.';
COMMENT ON COLUMN reporting.queue.oldest_age_seconds IS 'Seconds since then.';

CREATE VIEW reporting.published AS
SELECT published.model,
    published.dataset,
    published.schedule,
    published.target_num || '/' || published.target_den AS target,
    published.target_num::double precision / published.target_den AS target_epsilon,
    published.clean AS clean_accuracy,
    published.robust AS robust_accuracy,
    published.expected AS expected_robustness,
    published.anomalous
FROM temper.published_result AS published;
COMMENT ON VIEW reporting.published IS 'What was published of the method: Tables 1 and 2 of Ngnawé et al., ICLR 2026 (arXiv 2509.23325). Means over whatever they did, no jobs of ours.';
COMMENT ON COLUMN reporting.published.model IS 'Catalog name of the model.';
COMMENT ON COLUMN reporting.published.dataset IS 'Catalog name of the dataset.';
COMMENT ON COLUMN reporting.published.schedule IS 'fixed or two-hinge.';
COMMENT ON COLUMN reporting.published.target IS 'Target strength, for instance 4/255.';
COMMENT ON COLUMN reporting.published.target_epsilon IS 'Target strength as a number, in pixel units of [0, 1].';
COMMENT ON COLUMN reporting.published.clean_accuracy IS 'Accuracy without a perturbation, in [0, 1], as exact as printed.';
COMMENT ON COLUMN reporting.published.robust_accuracy IS 'Accuracy at the target strength, in [0, 1], as exact as printed.';
COMMENT ON COLUMN reporting.published.expected_robustness IS 'Expected robustness up to the target strength, in [0, 1], as exact as printed.';
COMMENT ON COLUMN reporting.published.anomalous IS 'The printed figures fit no falling curve: expected robustness is below the accuracy at the target strength.';
