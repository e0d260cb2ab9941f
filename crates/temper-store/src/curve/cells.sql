SELECT cell.ordinal, cell.model, cell.dataset, cell.schedule, cell.target_num,
    cell.target_den, cell.seed, cell.hyperparameters, evaluation.evaluation,
    evaluation.job_id, job.state, cell.train_job, train.epochs,
    points.numerators, points.denominators, points.correct, points.samples,
    coalesce(job.spec -> 'mode', template.content -> 'mode') AS "mode!: Json<CurveMode>",
    coalesce(job.spec -> 'attacks', template.content -> 'attacks')
        AS "attacks!: Json<Vec<Attack>>",
    coalesce(job.spec -> 'model', template.content -> 'model')
        AS "selection!: Json<Selection>",
    coalesce(job.spec -> 'seed', template.content -> 'seed')
        AS "measuring_seed!: Json<u64>",
    summary.audit_samples AS "audit_samples?", summary.audit_gap AS "audit_gap?",
    summary.masking_flags AS "masking_flags?", summary.passes AS "passes?"
FROM temper.sweep_cell AS cell
JOIN temper.cell_evaluation AS evaluation
    ON evaluation.sweep_id = cell.sweep_id AND evaluation.cell = cell.ordinal
JOIN temper.job ON job.id = evaluation.job_id
JOIN temper.job AS train ON train.id = cell.train_job
LEFT JOIN temper.job_template AS template ON template.id = job.template_id
LEFT JOIN temper.job_summary AS summary ON summary.job_id = job.id
CROSS JOIN LATERAL (
    SELECT array_agg(point.epsilon_num) AS numerators,
        array_agg(point.epsilon_den) AS denominators,
        array_agg(point.correct) AS correct, array_agg(point.samples) AS samples
    FROM (
        SELECT epsilon_num, epsilon_den, correct, samples FROM temper.evaluation AS measured
        WHERE measured.job_id = job.id ORDER BY measured.ordinal
    ) AS point
) AS points
WHERE cell.sweep_id = $1
    AND ($2::text[] = '{}' OR cell.model = ANY($2))
    AND ($3::text[] = '{}' OR cell.dataset = ANY($3))
    AND ($4::text[] = '{}' OR cell.schedule = ANY($4))
    AND ($5::int[] = '{}' OR (cell.target_num, cell.target_den) IN
        (SELECT * FROM unnest($5::int[], $6::int[])))
    AND ($7::bigint[] = '{}' OR cell.seed = ANY($7))
    AND ($8::int[] = '{}' OR cell.hyperparameters = ANY($8))
    AND ($9::int[] = '{}' OR evaluation.evaluation = ANY($9))
    AND (NOT $10::bool OR job.state = 'succeeded')
    AND ($11::int IS NULL OR (cell.ordinal, evaluation.evaluation) > ($11, $12::int))
ORDER BY cell.ordinal, evaluation.evaluation LIMIT $13
