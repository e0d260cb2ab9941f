-- How much of a training's time is spent waiting for images.

ALTER TABLE temper.epoch_metric
    ADD COLUMN loading_share double precision NOT NULL DEFAULT 0
    CONSTRAINT epoch_metric_loading_share CHECK (loading_share BETWEEN 0 AND 1);
COMMENT ON COLUMN temper.epoch_metric.loading_share IS 'Share of the training time spent waiting for images to be loaded, in [0, 1]; 0 before it was measured.';
