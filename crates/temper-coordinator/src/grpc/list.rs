//! Lists of sweeps, by filter and page.

use temper_core::{Digest, key};
use temper_proto::v1;
use temper_service::status::bad_field;
use temper_store::{Store, SweepCursor, SweepFilter, SweepState};
use tonic::Status;
use uuid::Uuid;

use super::{encode, page, refused};

/// A place in a list: microseconds and id of the page's last sweep, and what the list is of.
type Place = (i64, Uuid, Digest);

pub async fn sweeps(
    store: &Store,
    request: &v1::ListSweepsRequest,
) -> Result<v1::ListSweepsResponse, Status> {
    let size = page::size(request.page_size, 50)?;
    let filter = filter(request)?;
    let list = key::digest_of(&(
        request.state,
        &filter.owner,
        &filter.labels,
        &filter.model,
        &filter.dataset,
    ));
    let after = match page::place::<Place>(&request.page_token)? {
        None => None,
        Some((micros, id, of)) if of == list => {
            let created_at = page::moment(micros)?;
            Some(SweepCursor { created_at, id })
        }
        Some(_) => return Err(bad_field("page_token", "is of a list with other filters")),
    };
    let listed = store.sweep_list(&filter, size, after);
    let listed = listed.await.map_err(refused)?;
    let next = listed
        .next
        .map(|next| (next.created_at.timestamp_micros(), next.id, list));
    let sweeps = listed.sweeps.into_iter();
    Ok(v1::ListSweepsResponse {
        sweeps: sweeps.map(|row| encode::sweep(row, None)).collect(),
        next_page_token: page::token(next.as_ref()),
    })
}

fn filter(request: &v1::ListSweepsRequest) -> Result<SweepFilter, Status> {
    let state = match v1::SweepState::try_from(request.state) {
        Ok(v1::SweepState::Unspecified) => None,
        Ok(v1::SweepState::Running) => Some(SweepState::Running),
        Ok(v1::SweepState::Paused) => Some(SweepState::Paused),
        Ok(v1::SweepState::Succeeded) => Some(SweepState::Succeeded),
        Ok(v1::SweepState::Failed) => Some(SweepState::Failed),
        Ok(v1::SweepState::Cancelled) => Some(SweepState::Cancelled),
        Err(error) => return Err(bad_field("state", error.to_string())),
    };
    let said = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    Ok(SweepFilter {
        state,
        owner: said(&request.owner),
        labels: request.labels.clone().into_iter().collect(),
        model: said(&request.model),
        dataset: said(&request.dataset),
    })
}
