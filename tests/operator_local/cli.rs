//! Every command that needs a cluster, by its real program: text, JSON, exit codes, and what errors say.

mod data;
mod files;
mod forward;
mod inside;
mod while_a_node_dies;
