//! Protobuf messages: those of xds-api, and our own few where its do not serve.
