//! The node agent: keeps true what the policy decides for the node, while members come and go and others change
//! the kernel.
//!
//! Data flows one way: a [`source`] says who belongs to the cluster, the policy is asked, the difference to the kernel
//! is carried out. No ADD depends on it.

pub mod source;
