//! An S3 client that is not ours, for the embedded server: Amazon's own SDK, without its retries.

use aws_sdk_s3::{
    Client,
    config::{BehaviorVersion, Credentials, Region, retry::RetryConfig},
};
use narhaul::serve::{Config, Server};

/// Returns a client for a server that was started with `config`.
pub(crate) fn client(server: &Server, config: &Config) -> Client {
    let keys = Credentials::new(&config.access_key, &config.secret_key, None, None, "test");
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .credentials_provider(keys)
        .region(Region::new(config.region.clone()))
        .endpoint_url(server.endpoint())
        .force_path_style(true)
        .retry_config(RetryConfig::disabled())
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build();
    Client::from_conf(config)
}
