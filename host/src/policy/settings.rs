//! How policies are compiled and run: one configuration of wasmtime for both.
//!
//! Code that was compiled with other settings must not run. wasmtime itself compares most of them when it
//! loads code, but the defaults of some depend on cargo features, in which the compiler and the plugin
//! differ: so every one is set here. What wasmtime does not compare (marked †) is covered by
//! [`REVISION`], which goes up with every change of this file.

use std::num::NonZeroUsize;

use wasmtime::{
    Config, Inlining, InstanceAllocationStrategy, ModuleVersionStrategy, OperatorCost, VariableOperatorCost,
    WasmBacktraceDetails, WasmFeatures,
};

use super::limits;

/// Of the settings below.
const REVISION: &str = "2";

/// Of the wasmtime that is linked in, with its patch level: a patch may mend wrongly compiled code.
pub(super) const WASMTIME: &str = env!("PODWIRE_WASMTIME_VERSION");

/// The address space after a linear memory in which every access traps.
const MEMORY_GUARD: u64 = 64 << 10;

/// How much of a memory's initial image may be zeros and still be mapped instead of copied. The image of an
/// interpreter is larger than wasmtime's default of 16 MiB.
const MEMORY_IMAGE: u64 = limits::MEMORY as u64;

/// Enough to find where a policy's author went wrong.
const BACKTRACE_FRAMES: NonZeroUsize = NonZeroUsize::new(16).expect("not zero");

/// What the compilers of guest languages emit today, and nothing beyond: each proposal of WebAssembly is
/// more of wasmtime's code within reach of a hostile policy. `REFERENCE_TYPES` stands for an encoding of
/// calls that LLVM uses: there is no garbage collector.
pub(super) const FEATURES: WasmFeatures = WasmFeatures::MUTABLE_GLOBAL
    .union(WasmFeatures::SATURATING_FLOAT_TO_INT)
    .union(WasmFeatures::SIGN_EXTENSION)
    .union(WasmFeatures::REFERENCE_TYPES)
    .union(WasmFeatures::MULTI_VALUE)
    .union(WasmFeatures::BULK_MEMORY)
    .union(WasmFeatures::FLOATS)
    .union(WasmFeatures::EXTENDED_CONST)
    .union(WasmFeatures::COMPONENT_MODEL);

/// Names the code that this program can run: podwire's version, wasmtime's, and that of the settings.
pub(super) fn version() -> String {
    format!("{}-{WASMTIME}-{REVISION}", env!("CARGO_PKG_VERSION"))
}

/// What identifies compiled code in a file name: what `version` says and the processor's architecture.
pub fn abi_key() -> String {
    format!("{}-{}", version(), std::env::consts::ARCH)
}

/// The configuration for code that is named `version`.
pub(super) fn config(version: String) -> wasmtime::Result<Config> {
    let mut config = Config::new();
    config.module_version(ModuleVersionStrategy::Custom(version))?;
    bound_work(&mut config);
    lay_out_memory(&mut config);
    config.wasm_features(WasmFeatures::all().difference(FEATURES), false);
    config.wasm_features(FEATURES, true);
    config.concurrency_support(false);
    config.shared_memory(false);
    trace_traps(&mut config);
    #[cfg(feature = "compiler")]
    compile(&mut config)?;
    Ok(config)
}

fn bound_work(config: &mut Config) {
    config.consume_fuel(true);
    config.operator_cost(operator_cost());
    // Would need a thread or a signal, and would end equal calls at unequal places.
    config.epoch_interruption(false);
    config.max_wasm_stack(limits::STACK);
}

/// One unit for an instruction, except for those that leave compiled code for the runtime: those for
/// blocks of memory, which are common and quick, and those that make something grow or copy tables.
fn operator_cost() -> OperatorCost {
    const BLOCK: u8 = 20;
    const RUNTIME: u8 = 100;
    OperatorCost {
        MemoryInit: BLOCK,
        MemoryCopy: BLOCK,
        MemoryFill: BLOCK,
        DataDrop: BLOCK,
        MemoryGrow: RUNTIME,
        TableGrow: RUNTIME,
        TableInit: RUNTIME,
        TableCopy: RUNTIME,
        TableFill: RUNTIME,
        ElemDrop: RUNTIME,
        variable: VariableOperatorCost { memory_grow_per_page: RUNTIME, ..VariableOperatorCost::new() },
        ..OperatorCost::new()
    }
}

fn lay_out_memory(config: &mut Config) {
    // wasmtime's default of 4 GiB for each memory fails where address space is limited.
    config.memory_reservation(limits::MEMORY as u64);
    config.memory_guard_size(MEMORY_GUARD);
    config.memory_reservation_for_growth(0);
    config.memory_may_move(false);
    config.guard_before_linear_memory(false);
    config.memory_init_cow(true);
    config.force_memory_init_memfd(false);
    config.memory_guaranteed_dense_image_size(MEMORY_IMAGE); // †
    config.table_lazy_init(true);
    // Pooling prepares for many instances; a plugin makes one, and exits.
    config.allocation_strategy(InstanceAllocationStrategy::OnDemand);
}

fn trace_traps(config: &mut Config) {
    config.signals_based_traps(true);
    config.wasm_backtrace_max_frames(Some(BACKTRACE_FRAMES));
    // Otherwise, an environment variable decides.
    config.wasm_backtrace_details(WasmBacktraceDetails::Disable);
    config.generate_address_map(false); // †
    config.debug_info(false);
    config.debug_symbols(false);
    // Registering the tables crashes on musl; backtraces do without them. †
    config.native_unwind_info(false);
    config.relaxed_simd_deterministic(true);
    config.compiler_inlining(Inlining::No);
    config.wasm_branch_hinting(false); // †
}

#[cfg(feature = "compiler")]
fn compile(config: &mut Config) -> wasmtime::Result<()> {
    // Named, or the code would be for this processor and its like: an image of a node made on one could not run on
    // another, and each load would look at what the processor has, for 70 µs.
    config.target(env!("PODWIRE_TARGET"))?;
    config.enable_compiler(true);
    config.strategy(wasmtime::Strategy::Cranelift);
    config.cranelift_opt_level(wasmtime::OptLevel::Speed); // †
    // The bits of a NaN depend on the processor: the same request would not have the same answer. †
    config.cranelift_nan_canonicalization(true);
    config.cranelift_debug_verifier(false); // †
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_names_the_wasmtime_that_is_linked_in() {
        assert_eq!(WASMTIME.split('.').count(), 3, "{WASMTIME}");
        // The only version that wasmtime tells is its major one.
        let major = ModuleVersionStrategy::WasmtimeVersion;
        assert_eq!(WASMTIME.split('.').next(), Some(major.as_str()));
        assert!(version().len() < 256, "wasmtime refuses longer ones");
    }

    #[cfg(feature = "compiler")]
    #[test]
    fn compiled_code_runs_on_every_processor_of_its_architecture() {
        let make = || wasmtime::Engine::new(&config(version()).unwrap()).unwrap();
        let code = make().precompile_component(b"\0asm\x0d\0\x01\0").unwrap();
        let mut plain = config(version()).unwrap();
        // SAFETY: that the processor has something is never said here.
        #[allow(unsafe_code)]
        let plain = unsafe { plain.detect_host_feature(|_| Some(false)) };
        let engine = wasmtime::Engine::new(plain).unwrap();
        // SAFETY: wasmtime made it just now.
        #[allow(unsafe_code)]
        unsafe { wasmtime::component::Component::deserialize(&engine, code) }.unwrap();
    }
}
