//! The handlers of the ledger, as calls that exclude each other.

use tonic::{Request, Response, Status, Streaming};

use crate::ledger::Ledger;
use crate::pb::bulk::v1::test_bulk_server::TestBulk;
use crate::pb::ledger::v1::test_ledger_server::TestLedger;
use crate::pb::ledger::v1::{TestReply, TestRequest};

#[tonic::async_trait]
impl TestBulk for Ledger {
    type ListStream = <Self as TestLedger>::DownloadStream;

    async fn carry(&self, request: Request<TestRequest>) -> Result<Response<TestReply>, Status> {
        self.transfer(request).await
    }

    async fn carry_here(&self, request: Request<TestRequest>) -> Result<Response<TestReply>, Status> {
        self.transfer(request).await
    }

    async fn weigh(&self, request: Request<TestRequest>) -> Result<Response<TestReply>, Status> {
        self.echo(request).await
    }

    async fn weigh_here(&self, request: Request<TestRequest>) -> Result<Response<TestReply>, Status> {
        self.echo(request).await
    }

    async fn list(&self, request: Request<TestRequest>) -> Result<Response<Self::ListStream>, Status> {
        self.download(request).await
    }

    async fn pour(&self, request: Request<Streaming<TestRequest>>) -> Result<Response<TestReply>, Status> {
        self.upload(request).await
    }
}
