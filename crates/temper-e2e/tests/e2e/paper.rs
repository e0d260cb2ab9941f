//! The paper's datasets in their authors' layouts, end to end.

use anyhow::ensure;
use temper_e2e::{System, paper};

#[tokio::test]
async fn all_five_datasets_train_from_their_original_layouts() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let mut system = System::start(paper::prepare(folder.path())?).await?;
    let datasets = paper::DATASETS.map(|(name, _)| name);
    let request = paper::grid(&["mobilenetv2"], &datasets, 32);
    let sweep = paper::run(&system, request).await?;
    ensure!(sweep.cells == 5, "{sweep:?}");
    system.stop().await
}
