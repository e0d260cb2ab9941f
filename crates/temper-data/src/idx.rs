//! The IDX format of MNIST and its kin, gzipped (<http://yann.lecun.com/exdb/mnist/>): a big-endian
//! header of magic and dimensions, then raw bytes.

use std::{
    fs::File,
    io::{self, BufReader, Read},
    path::{Path, PathBuf},
};

use flate2::bufread::MultiGzDecoder;

use crate::{
    DataError, Place,
    split::{self, RawImage, Sink, Split},
};

const LABELS: u32 = 0x0801;
const IMAGES: u32 = 0x0803;

/// Deflate shrinks at most 1032-fold, so that a header that promises more bytes lies.
const MAX_RATIO: u64 = 1_100;
/// Largest image side; also bounds what one image takes.
const MAX_SIDE: u32 = 4_096;

/// A split in IDX files.
#[derive(Debug)]
pub(crate) struct IdxSplit {
    images: PathBuf,
    labels: Vec<i64>,
}

/// An IDX file, its header read.
struct IdxFile<const DIMENSIONS: usize> {
    path: PathBuf,
    reader: MultiGzDecoder<BufReader<File>>,
    dimensions: [u32; DIMENSIONS],
}

impl IdxSplit {
    /// Reads the labels, and checks that the image file promises as many images.
    pub(crate) fn open(images: PathBuf, labels: &Path, classes: u32) -> Result<Self, DataError> {
        let labels = read_labels(labels, classes)?;
        let [count, ..] = IdxFile::<3>::open(&images, IMAGES)?.dimensions;
        if count as usize != labels.len() {
            let reason = format!("it has {count} images for {} labels", labels.len());
            return Err(DataError::damaged(images, reason));
        }
        Ok(Self { images, labels })
    }
}

impl Split for IdxSplit {
    fn labels(&self) -> &[i64] {
        &self.labels
    }

    /// Reads the file to its end, wanted or not, which checks its length and checksum.
    fn read(&self, chosen: &[usize], sink: &mut Sink<'_>) -> Result<(), DataError> {
        let mut file = IdxFile::<3>::open(&self.images, IMAGES)?;
        let [count, height, width] = file.dimensions;
        if width == 0 || height == 0 || width.max(height) > MAX_SIDE {
            let reason = format!("its images have {width} x {height} pixels");
            return Err(DataError::damaged(&self.images, reason));
        }
        let mut grey = vec![0; width as usize * height as usize];
        let mut chosen = chosen.iter().copied().enumerate().peekable();
        for index in 0..count as usize {
            file.fill(&mut grey)?;
            if let Some((position, _)) = chosen.next_if(|&(_, wanted)| wanted == index) {
                let bytes = grey.clone();
                let image = RawImage::Grey {
                    width,
                    height,
                    bytes,
                };
                sink(position, image)?;
            }
        }
        file.finish()
    }

    fn place(&self, index: usize) -> Place {
        Place::Index(self.images.clone(), index)
    }
}

fn read_labels(path: &Path, classes: u32) -> Result<Vec<i64>, DataError> {
    let mut file = IdxFile::<1>::open(path, LABELS)?;
    let [count] = file.dimensions;
    let mut bytes = vec![0; count as usize];
    file.fill(&mut bytes)?;
    file.finish()?;
    let place = |index| move || Place::Index(path.to_owned(), index);
    bytes
        .into_iter()
        .enumerate()
        .map(|(index, byte)| split::label(i128::from(byte), classes, place(index)))
        .collect()
}

impl<const DIMENSIONS: usize> IdxFile<DIMENSIONS> {
    fn open(path: &Path, magic: u32) -> Result<Self, DataError> {
        let file = File::open(path).map_err(DataError::io(path))?;
        let packed = file.metadata().map_err(DataError::io(path))?.len();
        let reader = MultiGzDecoder::new(BufReader::new(file));
        let mut file = Self {
            path: path.to_owned(),
            reader,
            dimensions: [0; DIMENSIONS],
        };
        let found = file.word()?;
        if found != magic {
            let reason = format!("it starts with {found:#010x}, not with the {magic:#010x} of IDX");
            return Err(DataError::damaged(path, reason));
        }
        for i in 0..DIMENSIONS {
            file.dimensions[i] = file.word()?;
        }
        let promised = file.dimensions.iter().fold(1, |product: u64, &dimension| {
            product.saturating_mul(u64::from(dimension))
        });
        if promised > packed.saturating_mul(MAX_RATIO) {
            let reason =
                format!("its header promises {promised} bytes, but it has {packed} packed");
            return Err(DataError::damaged(path, reason));
        }
        Ok(file)
    }

    fn word(&mut self) -> Result<u32, DataError> {
        let mut word = [0; 4];
        self.fill(&mut word)?;
        Ok(u32::from_be_bytes(word))
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), DataError> {
        self.reader
            .read_exact(bytes)
            .map_err(|error| fault(&self.path, error))
    }

    /// Checks that nothing follows; reading up to the end checks gzip's own checksum.
    fn finish(mut self) -> Result<(), DataError> {
        let rest = io::copy(&mut self.reader.by_ref().take(1), &mut io::sink())
            .map_err(|error| fault(&self.path, error))?;
        if rest > 0 {
            return Err(DataError::damaged(
                self.path,
                "it goes on after its last entry",
            ));
        }
        Ok(())
    }
}

/// The decoder reports both damage and what the system says as `io::Error`.
fn fault(path: &Path, error: io::Error) -> DataError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => DataError::undecodable(path, "it ends too early")(error),
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => {
            DataError::undecodable(path, "it is no whole gzip file")(error)
        }
        _ => DataError::io(path)(error),
    }
}
