//! The verbs of S3, each in terms of a bucket's back end.
//!
//! What comes in is parsed and its signature checked by `s3s`; what goes out is S3's own answers and
//! error codes (Amazon's "S3 API Reference"; where it is silent, what AWS does). Conditions are taken as
//! the server's [`Conditional`] says.
//!
//! Not here: faults (`faults`), and verbs that are not overridden, which `s3s` answers with 501.

use std::{collections::BTreeMap, sync::Arc};

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use s3s::{
    S3, S3Error, S3ErrorCode, S3Request, S3Response, S3Result,
    auth::Credentials,
    dto::{
        self, AbortMultipartUploadInput, AbortMultipartUploadOutput, BucketLocationConstraint,
        CompleteMultipartUploadInput, CompleteMultipartUploadOutput, CopyObjectInput,
        CopyObjectOutput, CreateBucketInput, CreateBucketOutput, CreateMultipartUploadInput,
        CreateMultipartUploadOutput, DeleteBucketLifecycleInput, DeleteBucketLifecycleOutput,
        DeleteObjectInput, DeleteObjectOutput, DeleteObjectsInput, DeleteObjectsOutput, ETag,
        ETagCondition, GetBucketLifecycleConfigurationInput, GetBucketLifecycleConfigurationOutput,
        GetBucketLocationInput, GetBucketLocationOutput, GetBucketPolicyInput,
        GetBucketPolicyOutput, GetBucketVersioningInput, GetBucketVersioningOutput,
        GetBucketWebsiteInput, GetBucketWebsiteOutput, GetObjectInput,
        GetObjectLockConfigurationInput, GetObjectLockConfigurationOutput, GetObjectOutput,
        HeadBucketInput, HeadBucketOutput, HeadObjectInput, HeadObjectOutput, ListBucketsInput,
        ListBucketsOutput, ListMultipartUploadsInput, ListMultipartUploadsOutput,
        ListObjectVersionsInput, ListObjectVersionsOutput, ListObjectsV2Input, ListObjectsV2Output,
        ListPartsInput, ListPartsOutput, PutBucketLifecycleConfigurationInput,
        PutBucketLifecycleConfigurationOutput, PutBucketPolicyInput, PutBucketPolicyOutput,
        PutBucketWebsiteInput, PutBucketWebsiteOutput, PutObjectInput, PutObjectOutput,
        UploadPartCopyInput, UploadPartCopyOutput, UploadPartInput, UploadPartOutput,
    },
};

use super::{
    Bucket, Conditional, Shared, admin, copies,
    gate::who,
    rules, versions,
    words::{
        Sums, chosen, encoder, index, key, lower, missing_key, missing_upload, once, read_token,
        signed, told, upload, whole,
    },
};
use crate::{
    backend::{Error, Kind, ListQuery, PartChecksum, PutOptions},
    nix::object_key::ObjectKey,
};

/// S3's largest page of keys, uploads and parts, and its largest deletion.
pub(super) const MAX_NAMES: i32 = 1000;

/// Speaks S3 for a server's buckets.
#[derive(Debug)]
pub(super) struct Protocol {
    shared: Arc<Shared>,
}

impl Protocol {
    pub(super) const fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    fn bucket(&self, name: &str) -> S3Result<Bucket> {
        self.shared
            .bucket(name)
            .ok_or_else(|| S3ErrorCode::NoSuchBucket.into())
    }

    /// Judges a write's condition; says whether the back end is to judge it once more.
    async fn if_absent(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        if_match: Option<&ETagCondition>,
        if_none_match: Option<&ETagCondition>,
    ) -> S3Result<bool> {
        match (self.shared.config.conditional, if_match, if_none_match) {
            (Conditional::Ignored, ..) | (_, None, None) => Ok(false),
            (Conditional::Atomic, None, Some(ETagCondition::Any)) => Ok(true),
            (Conditional::Racy, None, Some(ETagCondition::Any)) => {
                let found = bucket.backend().head(key).await;
                // Here another write may come between, as it does on such servers.
                tokio::task::yield_now().await;
                match found {
                    Ok(_) => Err(S3ErrorCode::PreconditionFailed.into()),
                    Err(error) if error.kind == Kind::NotFound => Ok(false),
                    Err(error) => Err(told(&error, S3ErrorCode::NoSuchKey)),
                }
            }
            // Writing over exactly one version is not offered here.
            _ => Err(S3ErrorCode::NotImplemented.into()),
        }
    }

    /// Says that an object is missing; who may not list is not told that.
    fn missing(&self, error: Error, credentials: Option<&Credentials>, bucket: &str) -> S3Error {
        let may_know = self
            .shared
            .may(who(credentials), "s3:ListBucket", bucket, None);
        let hides = credentials.is_some() && error.kind == Kind::NotFound && !may_know;
        if hides {
            S3ErrorCode::AccessDenied.into()
        } else {
            missing_key(error)
        }
    }
}

#[async_trait::async_trait]
impl S3 for Protocol {
    async fn list_buckets(
        &self,
        _: S3Request<ListBucketsInput>,
    ) -> S3Result<S3Response<ListBucketsOutput>> {
        let names = self.shared.bucket_names().into_iter();
        let buckets = names.map(|name| dto::Bucket {
            name: Some(name),
            ..dto::Bucket::default()
        });
        let buckets = Some(buckets.collect());
        Ok(S3Response::new(ListBucketsOutput {
            buckets,
            ..ListBucketsOutput::default()
        }))
    }

    async fn create_bucket(
        &self,
        request: S3Request<CreateBucketInput>,
    ) -> S3Result<S3Response<CreateBucketOutput>> {
        let name = request.input.bucket;
        if !self.shared.add_new(&name) {
            return Err(S3ErrorCode::BucketAlreadyOwnedByYou.into());
        }
        let location = Some(format!("/{name}"));
        Ok(S3Response::new(CreateBucketOutput { location }))
    }

    async fn head_bucket(
        &self,
        request: S3Request<HeadBucketInput>,
    ) -> S3Result<S3Response<HeadBucketOutput>> {
        self.bucket(&request.input.bucket)?;
        let bucket_region = Some(self.shared.config.region.clone());
        Ok(S3Response::new(HeadBucketOutput {
            bucket_region,
            ..HeadBucketOutput::default()
        }))
    }

    async fn get_bucket_location(
        &self,
        request: S3Request<GetBucketLocationInput>,
    ) -> S3Result<S3Response<GetBucketLocationOutput>> {
        self.bucket(&request.input.bucket)?;
        // The oldest region is told by silence.
        let region = Some(&self.shared.config.region).filter(|region| *region != "us-east-1");
        let location_constraint =
            region.map(|region| BucketLocationConstraint::from(region.clone()));
        Ok(S3Response::new(GetBucketLocationOutput {
            location_constraint,
        }))
    }

    async fn get_object(
        &self,
        request: S3Request<GetObjectInput>,
    ) -> S3Result<S3Response<GetObjectOutput>> {
        let (input, asker) = (request.input, request.credentials);
        let (bucket, key) = (self.bucket(&input.bucket)?, key(&input.key)?);
        let missing = |error| self.missing(error, asker.as_ref(), &input.bucket);
        let object = bucket.backend().get(&key).await.map_err(missing)?;
        let (headers, meta) = (bucket.headers(&key), object.meta);
        let (mut body, mut content_range) = (object.body, None);
        if let Some(range) = input.range {
            let range = range.check(meta.size)?;
            if range.is_empty() {
                return Err(S3ErrorCode::InvalidRange.into()); // The end of nothing.
            }
            content_range = Some(format!(
                "bytes {}-{}/{}",
                range.start,
                range.end - 1,
                meta.size
            ));
            body = body.slice(index(range.start)?..index(range.end)?);
        }
        Ok(S3Response::new(GetObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            content_length: Some(signed(body.len())?),
            body: Some(once(body)),
            content_range,
            content_type: headers.content_type,
            content_encoding: headers.content_encoding,
            cache_control: headers.cache_control,
            e_tag: meta.etag.map(ETag::Strong),
            last_modified: meta.last_modified.map(Into::into),
            metadata: Some(meta.user.into_iter().collect()),
            ..GetObjectOutput::default()
        }))
    }

    async fn head_object(
        &self,
        request: S3Request<HeadObjectInput>,
    ) -> S3Result<S3Response<HeadObjectOutput>> {
        let (bucket, key) = (
            self.bucket(&request.input.bucket)?,
            key(&request.input.key)?,
        );
        let asker = request.credentials.as_ref();
        let missing = |error| self.missing(error, asker, &request.input.bucket);
        let meta = bucket.backend().head(&key).await.map_err(missing)?;
        let headers = bucket.headers(&key);
        Ok(S3Response::new(HeadObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            content_length: Some(signed(meta.size)?),
            content_type: headers.content_type,
            content_encoding: headers.content_encoding,
            cache_control: headers.cache_control,
            e_tag: meta.etag.map(ETag::Strong),
            last_modified: meta.last_modified.map(Into::into),
            metadata: Some(meta.user.into_iter().collect()),
            ..HeadObjectOutput::default()
        }))
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let input = request.input;
        let bucket = self.bucket(&input.bucket)?;
        if input
            .delimiter
            .as_deref()
            .is_some_and(|delimiter| delimiter != "/")
        {
            return Err(S3ErrorCode::NotImplemented.into());
        }
        let encode = encoder(input.encoding_type.as_ref());
        let token = input.continuation_token.as_deref().map(read_token);
        let query = ListQuery {
            prefix: input.prefix.clone().unwrap_or_default(),
            is_shallow: input.delimiter.is_some(),
            start_after: input.start_after.clone(),
            token: token.transpose()?,
        };
        let max_keys = input.max_keys.unwrap_or(MAX_NAMES).clamp(0, MAX_NAMES);
        let most = index(max_keys)?;
        let page = bucket.list(query, most.max(1)).await.map_err(missing_key)?;
        let contents = page.objects.into_iter().map(|(name, meta)| {
            Ok(dto::Object {
                key: Some(encode(&name)),
                size: Some(signed(meta.size)?),
                e_tag: meta.etag.map(ETag::Strong),
                last_modified: meta.last_modified.map(Into::into),
                ..dto::Object::default()
            })
        });
        let contents: Vec<_> = contents.take(most).collect::<S3Result<_>>()?;
        let folders = page.folders.iter().take(most);
        let folders = folders.map(|name| dto::CommonPrefix {
            prefix: Some(encode(name)),
        });
        let folders: Vec<_> = folders.collect();
        let next = page
            .token
            .filter(|_| most > 0)
            .map(|last| URL_SAFE_NO_PAD.encode(last));
        Ok(S3Response::new(ListObjectsV2Output {
            name: Some(input.bucket),
            key_count: i32::try_from(contents.len() + folders.len()).ok(),
            max_keys: Some(max_keys),
            is_truncated: Some(next.is_some()),
            next_continuation_token: next,
            contents: Some(contents),
            common_prefixes: Some(folders),
            prefix: input.prefix.as_deref().map(&encode),
            delimiter: input.delimiter,
            encoding_type: input.encoding_type,
            continuation_token: input.continuation_token,
            start_after: input.start_after.as_deref().map(&encode),
            ..ListObjectsV2Output::default()
        }))
    }

    async fn put_object(
        &self,
        request: S3Request<PutObjectInput>,
    ) -> S3Result<S3Response<PutObjectOutput>> {
        let input = request.input;
        let (bucket, key) = (self.bucket(&input.bucket)?, key(&input.key)?);
        let wanted = Sums {
            crc32: input.checksum_crc32,
            crc32c: input.checksum_crc32c,
            crc64nvme: input.checksum_crc64nvme,
            sha1: input.checksum_sha1,
            sha256: input.checksum_sha256,
        };
        let body = whole(input.body, &wanted).await?;
        let (if_match, if_none_match) = (input.if_match.as_ref(), input.if_none_match.as_ref());
        let options = PutOptions {
            content_type: input.content_type,
            cache_control: input.cache_control,
            content_encoding: input.content_encoding,
            user: lower(input.metadata),
            if_absent: self
                .if_absent(&bucket, &key, if_match, if_none_match)
                .await?,
            if_same: None,
            fence: None,
            sha256: None,
        };
        bucket
            .backend()
            .put(&key, body, &options)
            .await
            .map_err(missing_key)?;
        let e_tag = bucket.etag(&key).await.map(ETag::Strong);
        Ok(S3Response::new(PutObjectOutput {
            e_tag,
            ..PutObjectOutput::default()
        }))
    }

    async fn copy_object(
        &self,
        request: S3Request<CopyObjectInput>,
    ) -> S3Result<S3Response<CopyObjectOutput>> {
        copies::object(&self.shared, request).await
    }

    async fn upload_part_copy(
        &self,
        request: S3Request<UploadPartCopyInput>,
    ) -> S3Result<S3Response<UploadPartCopyOutput>> {
        copies::part(&self.shared, request).await
    }

    async fn delete_object(
        &self,
        request: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        let input = request.input;
        let bucket = self.bucket(&input.bucket)?;
        if let Some(version) = &input.version_id {
            return versions::delete(&bucket, &input.key, version);
        }
        let key = key(&input.key)?;
        let failed = bucket
            .backend()
            .delete(&[key], None)
            .await
            .map_err(missing_key)?;
        match failed.first() {
            Some((_, error)) => Err(told(error, S3ErrorCode::NoSuchKey)),
            None => Ok(S3Response::new(DeleteObjectOutput::default())),
        }
    }

    async fn delete_objects(
        &self,
        request: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        let (input, who) = (request.input, who(request.credentials.as_ref()));
        let bucket = self.bucket(&input.bucket)?;
        let names: Vec<_> = input
            .delete
            .objects
            .into_iter()
            .map(|object| object.key)
            .collect();
        let action = "s3:DeleteObject";
        let (names, denied): (Vec<_>, Vec<_>) = names
            .into_iter()
            .partition(|name| self.shared.may(who, action, &input.bucket, Some(name)));
        if names.is_empty() && denied.is_empty() || names.len() > index(MAX_NAMES)? {
            return Err(S3ErrorCode::MalformedXML.into());
        }
        // A name that no key can have cannot be there, and what is not there counts as deleted.
        let keys: Vec<_> = names
            .iter()
            .filter_map(|name| ObjectKey::parse(name).ok())
            .collect();
        let failed = bucket
            .backend()
            .delete(&keys, None)
            .await
            .map_err(missing_key)?;
        let failed: BTreeMap<_, _> = failed
            .iter()
            .map(|(key, error)| (key.as_str(), error))
            .collect();
        let denied = denied
            .iter()
            .map(|name| (&**name, S3ErrorCode::AccessDenied.into()));
        let errors = failed
            .iter()
            .map(|(name, error)| (*name, told(error, S3ErrorCode::NoSuchKey)))
            .chain(denied)
            .map(|(name, told): (&str, S3Error)| dto::Error {
                key: Some(name.to_owned()),
                code: Some(told.code().as_str().to_owned()),
                message: told.message().map(str::to_owned),
                ..dto::Error::default()
            });
        let errors = Some(errors.collect::<Vec<_>>());
        let deleted = names
            .iter()
            .filter(|name| !failed.contains_key(name.as_str()));
        let deleted = deleted.map(|name| dto::DeletedObject {
            key: Some(name.clone()),
            ..dto::DeletedObject::default()
        });
        let deleted = Some(deleted.collect()).filter(|_| input.delete.quiet != Some(true));
        Ok(S3Response::new(DeleteObjectsOutput {
            deleted,
            errors,
            ..DeleteObjectsOutput::default()
        }))
    }

    async fn create_multipart_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let input = request.input;
        let (bucket, key) = (self.bucket(&input.bucket)?, key(&input.key)?);
        let options = PutOptions {
            content_type: input.content_type,
            cache_control: input.cache_control,
            content_encoding: input.content_encoding,
            user: lower(input.metadata),
            if_absent: false,
            if_same: None,
            fence: None,
            sha256: None,
        };
        let upload = bucket
            .backend()
            .begin_upload(&key, &options)
            .await
            .map_err(missing_upload)?;
        Ok(S3Response::new(CreateMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(upload.id),
            ..CreateMultipartUploadOutput::default()
        }))
    }

    async fn upload_part(
        &self,
        request: S3Request<UploadPartInput>,
    ) -> S3Result<S3Response<UploadPartOutput>> {
        let input = request.input;
        let bucket = self.bucket(&input.bucket)?;
        let upload = upload(&input.key, input.upload_id)?;
        let number = u32::try_from(input.part_number)
            .map_err(|error| S3Error::with_source(S3ErrorCode::InvalidArgument, error.into()))?;
        let wanted = Sums {
            crc32: input.checksum_crc32,
            crc32c: input.checksum_crc32c,
            crc64nvme: input.checksum_crc64nvme,
            sha1: input.checksum_sha1,
            sha256: input.checksum_sha256,
        };
        let body = whole(input.body, &wanted).await?;
        let part = bucket
            .backend()
            .put_part(&upload, number, body)
            .await
            .map_err(missing_upload)?;
        let e_tag = Some(ETag::Strong(part.etag));
        Ok(S3Response::new(UploadPartOutput {
            e_tag,
            ..UploadPartOutput::default()
        }))
    }

    async fn complete_multipart_upload(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let input = request.input;
        let bucket = self.bucket(&input.bucket)?;
        let upload = upload(&input.key, input.upload_id)?;
        let conditions = (input.if_match.as_ref(), input.if_none_match.as_ref());
        if self
            .if_absent(&bucket, &upload.key, conditions.0, conditions.1)
            .await?
        {
            // The condition of an upload is set at its beginning, which S3 does not know: so it is
            // judged here, a little before the fact.
            if bucket.backend().head(&upload.key).await.is_ok() {
                return Err(S3ErrorCode::PreconditionFailed.into());
            }
        }
        let kept = bucket
            .backend()
            .parts(&upload)
            .await
            .map_err(missing_upload)?;
        let wanted = input
            .multipart_upload
            .and_then(|wanted| wanted.parts)
            .unwrap_or_default();
        let parts = chosen(&kept, &wanted, bucket.backend().limits().min_part_size)?;
        bucket
            .backend()
            .complete_upload(&upload, &parts)
            .await
            .map_err(missing_upload)?;
        Ok(S3Response::new(CompleteMultipartUploadOutput {
            location: Some(format!("/{}/{}", input.bucket, input.key)),
            bucket: Some(input.bucket),
            e_tag: bucket.etag(&upload.key).await.map(ETag::Strong),
            key: Some(input.key),
            ..CompleteMultipartUploadOutput::default()
        }))
    }

    async fn abort_multipart_upload(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        let bucket = self.bucket(&request.input.bucket)?;
        let upload = upload(&request.input.key, request.input.upload_id)?;
        // To a back end a missing upload is no error; to S3 it is.
        bucket
            .backend()
            .parts(&upload)
            .await
            .map_err(missing_upload)?;
        bucket
            .backend()
            .abort_upload(&upload)
            .await
            .map_err(missing_upload)?;
        Ok(S3Response::new(AbortMultipartUploadOutput::default()))
    }

    async fn list_multipart_uploads(
        &self,
        request: S3Request<ListMultipartUploadsInput>,
    ) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
        let input = request.input;
        let bucket = self.bucket(&input.bucket)?;
        let encode = encoder(input.encoding_type.as_ref());
        let prefix = input.prefix.clone().unwrap_or_default();
        let mut uploads = bucket.uploads(&prefix).await.map_err(missing_upload)?;
        // S3 orders by key, then by age; the markers are the last of the page before.
        uploads.sort_by(|a, b| a.key.cmp(&b.key));
        if let Some(marker) = &input.key_marker {
            let id = input.upload_id_marker.as_deref();
            let told = uploads.iter().rposition(|upload| match id {
                Some(id) => upload.key.as_str() == marker && upload.id == id,
                None => upload.key.as_str() <= marker.as_str(),
            });
            uploads.drain(..told.map_or(0, |last| last + 1));
        }
        let most = index(input.max_uploads.unwrap_or(MAX_NAMES).clamp(1, MAX_NAMES))?;
        let is_truncated = uploads.len() > most;
        uploads.truncate(most);
        let last = uploads.last().filter(|_| is_truncated);
        let next_key_marker = last.map(|last| encode(last.key.as_str()));
        let next_upload_id_marker = last.map(|last| last.id.clone());
        let uploads = uploads.into_iter().map(|upload| dto::MultipartUpload {
            key: Some(encode(upload.key.as_str())),
            upload_id: Some(upload.id),
            initiated: upload.begun.map(Into::into),
            ..dto::MultipartUpload::default()
        });
        Ok(S3Response::new(ListMultipartUploadsOutput {
            bucket: Some(input.bucket),
            uploads: Some(uploads.collect()),
            is_truncated: Some(is_truncated),
            next_key_marker,
            next_upload_id_marker,
            prefix: input.prefix.as_deref().map(&encode),
            encoding_type: input.encoding_type,
            ..ListMultipartUploadsOutput::default()
        }))
    }

    async fn list_parts(
        &self,
        request: S3Request<ListPartsInput>,
    ) -> S3Result<S3Response<ListPartsOutput>> {
        let input = request.input;
        let bucket = self.bucket(&input.bucket)?;
        let upload = upload(&input.key, input.upload_id)?;
        let mut parts = bucket
            .backend()
            .parts(&upload)
            .await
            .map_err(missing_upload)?;
        let behind: u32 = input
            .part_number_marker
            .and_then(|n| n.try_into().ok())
            .unwrap_or(0);
        parts.retain(|part| part.number > behind);
        let most = index(input.max_parts.unwrap_or(MAX_NAMES).clamp(1, MAX_NAMES))?;
        let is_truncated = parts.len() > most;
        parts.truncate(most);
        let last = parts.last().filter(|_| is_truncated);
        let next_part_number_marker = last.and_then(|last| i32::try_from(last.number).ok());
        let parts = parts.into_iter().map(|part| {
            Ok(dto::Part {
                part_number: i32::try_from(part.number).ok(),
                size: Some(signed(part.size)?),
                e_tag: Some(ETag::Strong(part.etag)),
                checksum_sha256: part.checksum.and_then(sha256),
                ..dto::Part::default()
            })
        });
        Ok(S3Response::new(ListPartsOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(upload.id),
            parts: Some(parts.collect::<S3Result<_>>()?),
            is_truncated: Some(is_truncated),
            next_part_number_marker,
            ..ListPartsOutput::default()
        }))
    }

    async fn list_object_versions(
        &self,
        request: S3Request<ListObjectVersionsInput>,
    ) -> S3Result<S3Response<ListObjectVersionsOutput>> {
        let bucket = self.bucket(&request.input.bucket)?;
        versions::list(&bucket, request.input)
    }

    async fn get_bucket_versioning(
        &self,
        request: S3Request<GetBucketVersioningInput>,
    ) -> S3Result<S3Response<GetBucketVersioningOutput>> {
        let bucket = self.bucket(&request.input.bucket)?;
        rules::versioning(&bucket).await
    }

    async fn get_object_lock_configuration(
        &self,
        request: S3Request<GetObjectLockConfigurationInput>,
    ) -> S3Result<S3Response<GetObjectLockConfigurationOutput>> {
        let bucket = self.bucket(&request.input.bucket)?;
        rules::object_lock(&bucket).await
    }

    async fn get_bucket_lifecycle_configuration(
        &self,
        request: S3Request<GetBucketLifecycleConfigurationInput>,
    ) -> S3Result<S3Response<GetBucketLifecycleConfigurationOutput>> {
        let bucket = self.bucket(&request.input.bucket)?;
        rules::lifecycle(&bucket).await
    }

    async fn put_bucket_lifecycle_configuration(
        &self,
        request: S3Request<PutBucketLifecycleConfigurationInput>,
    ) -> S3Result<S3Response<PutBucketLifecycleConfigurationOutput>> {
        let bucket = self.bucket(&request.input.bucket)?;
        rules::set_lifecycle(&bucket, request.input.lifecycle_configuration)
    }

    async fn delete_bucket_lifecycle(
        &self,
        request: S3Request<DeleteBucketLifecycleInput>,
    ) -> S3Result<S3Response<DeleteBucketLifecycleOutput>> {
        let bucket = self.bucket(&request.input.bucket)?;
        rules::unset_lifecycle(&bucket)
    }

    async fn get_bucket_policy(
        &self,
        request: S3Request<GetBucketPolicyInput>,
    ) -> S3Result<S3Response<GetBucketPolicyOutput>> {
        admin::policy(&self.bucket(&request.input.bucket)?).await
    }

    async fn put_bucket_policy(
        &self,
        request: S3Request<PutBucketPolicyInput>,
    ) -> S3Result<S3Response<PutBucketPolicyOutput>> {
        let bucket = self.bucket(&request.input.bucket)?;
        admin::set_policy(&bucket, &request.input.policy).await
    }

    async fn get_bucket_website(
        &self,
        request: S3Request<GetBucketWebsiteInput>,
    ) -> S3Result<S3Response<GetBucketWebsiteOutput>> {
        admin::website(&self.bucket(&request.input.bucket)?).await
    }

    async fn put_bucket_website(
        &self,
        request: S3Request<PutBucketWebsiteInput>,
    ) -> S3Result<S3Response<PutBucketWebsiteOutput>> {
        admin::set_website(&self.bucket(&request.input.bucket)?).await
    }
}

/// Writes a part's SHA-256 as S3 does.
fn sha256(checksum: PartChecksum) -> Option<String> {
    match checksum {
        PartChecksum::Sha256(digest) => Some(STANDARD.encode(digest)),
        PartChecksum::Md5(_) => None,
    }
}
