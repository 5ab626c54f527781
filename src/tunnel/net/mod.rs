//! DNS, TCP, TLS, HTTP/1.1 and WebSocket.
