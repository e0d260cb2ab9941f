-- What jobs report: epochs, checkpoints, models, measurements, and a summary row each.

CREATE TABLE temper.epoch_metric (
    job_id                     bigint NOT NULL REFERENCES temper.job (id),
    epoch                      integer NOT NULL CHECK (epoch >= 0),
    fence                      bigint NOT NULL CHECK (fence > 0),
    epsilon                    double precision NOT NULL,
    learning_rate              double precision NOT NULL,
    train_loss                 double precision NOT NULL,
    validation_accuracy        double precision CHECK (validation_accuracy BETWEEN 0 AND 1),
    validation_robust_accuracy double precision CHECK (validation_robust_accuracy BETWEEN 0 AND 1),
    images_per_second          double precision NOT NULL,
    reported_at                timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (job_id, epoch)
);
COMMENT ON TABLE temper.epoch_metric IS 'Epochs of trainings. One reported again replaces itself; a new lease deletes those after the checkpoint that it resumes from.';
COMMENT ON COLUMN temper.epoch_metric.job_id IS 'The training.';
COMMENT ON COLUMN temper.epoch_metric.epoch IS 'Which epoch, from 0.';
COMMENT ON COLUMN temper.epoch_metric.fence IS 'Fence of the lease under which it was reported.';
COMMENT ON COLUMN temper.epoch_metric.epsilon IS 'Strength of the attack at the epoch''s last step, in pixel units of [0, 1].';
COMMENT ON COLUMN temper.epoch_metric.learning_rate IS 'Learning rate of the pretrained part at the epoch''s last step.';
COMMENT ON COLUMN temper.epoch_metric.train_loss IS 'Mean cross-entropy over the epoch''s samples, as trained on.';
COMMENT ON COLUMN temper.epoch_metric.validation_accuracy IS 'Share of the validation split classified rightly; null for an empty split.';
COMMENT ON COLUMN temper.epoch_metric.validation_robust_accuracy IS 'The same under attack at the target strength; null where there is no attack.';
COMMENT ON COLUMN temper.epoch_metric.images_per_second IS 'Training images a second, validation not counted.';
COMMENT ON COLUMN temper.epoch_metric.reported_at IS 'When it was reported.';

CREATE TABLE temper.checkpoint (
    path          text PRIMARY KEY CHECK (path <> ''),
    job_id        bigint NOT NULL REFERENCES temper.job (id),
    fence         bigint NOT NULL CHECK (fence > 0),
    step          bigint NOT NULL CHECK (step >= 0),
    epochs        integer NOT NULL CHECK (epochs >= 0),
    sha256        bytea NOT NULL CHECK (octet_length(sha256) = 32),
    size          bigint NOT NULL CHECK (size >= 0),
    registered_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX checkpoint_newest ON temper.checkpoint (job_id, step DESC, fence DESC);
COMMENT ON TABLE temper.checkpoint IS 'States of trainings to resume from, whose bytes are in the object store.';
COMMENT ON COLUMN temper.checkpoint.path IS 'Path in the object store.';
COMMENT ON COLUMN temper.checkpoint.job_id IS 'The training.';
COMMENT ON COLUMN temper.checkpoint.fence IS 'Fence of the lease under which it was made.';
COMMENT ON COLUMN temper.checkpoint.step IS 'Optimiser steps done.';
COMMENT ON COLUMN temper.checkpoint.epochs IS 'Epochs done.';
COMMENT ON COLUMN temper.checkpoint.sha256 IS 'SHA-256 of the bytes, by which a torn file is known.';
COMMENT ON COLUMN temper.checkpoint.size IS 'Length in bytes.';
COMMENT ON COLUMN temper.checkpoint.registered_at IS 'When it was registered.';

CREATE TABLE temper.artifact (
    job_id     bigint PRIMARY KEY REFERENCES temper.job (id),
    path       text NOT NULL CHECK (path <> ''),
    sha256     bytea NOT NULL CHECK (octet_length(sha256) = 32),
    size       bigint NOT NULL CHECK (size >= 0),
    created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE temper.artifact IS 'Trained models, safetensors in the object store.';
COMMENT ON COLUMN temper.artifact.job_id IS 'The training that made it.';
COMMENT ON COLUMN temper.artifact.path IS 'Path in the object store.';
COMMENT ON COLUMN temper.artifact.sha256 IS 'SHA-256 of the bytes.';
COMMENT ON COLUMN temper.artifact.size IS 'Length in bytes.';
COMMENT ON COLUMN temper.artifact.created_at IS 'When the training was accepted.';

CREATE TABLE temper.evaluation (
    job_id      bigint NOT NULL REFERENCES temper.job (id),
    ordinal     integer NOT NULL CHECK (ordinal >= 0),
    epsilon_num integer NOT NULL,
    epsilon_den integer NOT NULL,
    correct     integer NOT NULL,
    samples     integer NOT NULL CHECK (samples > 0),
    PRIMARY KEY (job_id, ordinal),
    CONSTRAINT evaluation_epsilon CHECK (epsilon_den > 0 AND epsilon_num BETWEEN 0 AND epsilon_den),
    CONSTRAINT evaluation_correct CHECK (correct BETWEEN 0 AND samples)
);
COMMENT ON TABLE temper.evaluation IS 'Points of curves: accuracy against epsilon, in counts.';
COMMENT ON COLUMN temper.evaluation.job_id IS 'The evaluation.';
COMMENT ON COLUMN temper.evaluation.ordinal IS 'Place on the grid, from 0, where epsilon is 0.';
COMMENT ON COLUMN temper.evaluation.epsilon_num IS 'Numerator of the strength.';
COMMENT ON COLUMN temper.evaluation.epsilon_den IS 'Denominator of the strength.';
COMMENT ON COLUMN temper.evaluation.correct IS 'Samples classified rightly at this strength.';
COMMENT ON COLUMN temper.evaluation.samples IS 'Samples in all.';

CREATE TABLE temper.job_summary (
    job_id                     bigint PRIMARY KEY REFERENCES temper.job (id),
    kind                       text NOT NULL CHECK (kind IN ('train', 'evaluate')),
    epochs                     integer CHECK (epochs > 0),
    train_loss                 double precision,
    validation_accuracy        double precision CHECK (validation_accuracy BETWEEN 0 AND 1),
    validation_robust_accuracy double precision CHECK (validation_robust_accuracy BETWEEN 0 AND 1),
    clean_accuracy             double precision CHECK (clean_accuracy BETWEEN 0 AND 1),
    robust_accuracy            double precision CHECK (robust_accuracy BETWEEN 0 AND 1),
    expected_robustness        double precision CHECK (expected_robustness BETWEEN 0 AND 1),
    device_seconds             double precision NOT NULL CHECK (device_seconds >= 0),
    completed_at               timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT job_summary_of_training CHECK
        (kind <> 'train' OR (epochs IS NOT NULL AND num_nonnulls(clean_accuracy, robust_accuracy, expected_robustness) = 0)),
    CONSTRAINT job_summary_of_evaluation CHECK
        (kind <> 'evaluate' OR (num_nulls(clean_accuracy, robust_accuracy, expected_robustness) = 0
            AND num_nonnulls(epochs, train_loss, validation_accuracy, validation_robust_accuracy) = 0))
);
COMMENT ON TABLE temper.job_summary IS 'One row a succeeded job, written with its result, so that views over many jobs stay cheap.';
COMMENT ON COLUMN temper.job_summary.job_id IS 'The job.';
COMMENT ON COLUMN temper.job_summary.kind IS 'What it is.';
COMMENT ON COLUMN temper.job_summary.epochs IS 'Epochs of a training.';
COMMENT ON COLUMN temper.job_summary.train_loss IS 'Training loss of a training''s last epoch.';
COMMENT ON COLUMN temper.job_summary.validation_accuracy IS 'Validation accuracy of a training''s last epoch.';
COMMENT ON COLUMN temper.job_summary.validation_robust_accuracy IS 'The same under attack.';
COMMENT ON COLUMN temper.job_summary.clean_accuracy IS 'Accuracy of an evaluation without a perturbation.';
COMMENT ON COLUMN temper.job_summary.robust_accuracy IS 'Accuracy at the grid''s end.';
COMMENT ON COLUMN temper.job_summary.expected_robustness IS 'Normalised area under the curve, by the trapezoidal rule.';
COMMENT ON COLUMN temper.job_summary.device_seconds IS 'Device-seconds of all of the job''s attempts, wasted ones too.';
COMMENT ON COLUMN temper.job_summary.completed_at IS 'When the result was accepted.';
