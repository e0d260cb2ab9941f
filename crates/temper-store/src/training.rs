//! Trainings, as far as diagnoses of transfer need them.

use sqlx::types::Json;
use temper_core::job::JobState;
use uuid::Uuid;

use crate::{
    JobId, Store, StoreError,
    value::{named, stored},
};

/// How a training went.
#[derive(Debug, Clone, PartialEq)]
pub struct Course {
    /// The training.
    pub job: JobId,
    /// Where it stands.
    pub state: JobState,
    /// Epochs in all.
    pub epochs: u32,
    /// Classes of its dataset.
    pub classes: u32,
    /// Clean accuracy on the validation split by epoch, from the first; none where it was not measured.
    pub validation: Vec<Option<f64>>,
}

impl Store {
    /// The trainings of a sweep's cells, each once, by their numbers.
    ///
    /// # Errors
    /// `NotFound` without such a sweep.
    pub async fn sweep_courses(&self, sweep: Uuid) -> Result<Vec<Course>, StoreError> {
        self.sweep_exists(sweep).await?;
        let rows = sqlx::query!(
            r#"SELECT train.id, train.state, train.epochs,
                coalesce(train.spec -> 'dataset', template.content -> 'dataset') -> 'classes'
                    AS "classes!: Json<u32>",
                ARRAY(
                    SELECT metric.validation_accuracy FROM temper.epoch_metric AS metric
                    WHERE metric.job_id = train.id ORDER BY metric.epoch
                ) AS "validation!: Vec<Option<f64>>"
            FROM (
                SELECT DISTINCT train_job FROM temper.sweep_cell WHERE sweep_id = $1
            ) AS member
            JOIN temper.job AS train ON train.id = member.train_job
            LEFT JOIN temper.job_template AS template ON template.id = train.template_id
            ORDER BY train.id"#,
            sweep,
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|row| {
                Ok(Course {
                    job: JobId(row.id),
                    state: named(JobState::from_name, &row.state, "job state")?,
                    epochs: stored(row.epochs, "epochs")?,
                    classes: row.classes.0,
                    validation: row.validation,
                })
            })
            .collect()
    }
}
