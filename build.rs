//! Generates the protobuf code with the pure-Rust parser, so that the build needs no `protoc`.

fn main() {
    println!("cargo::rerun-if-changed=proto");
    protobuf_codegen::Codegen::new()
        .pure()
        .include("proto")
        .input("proto/log_message.proto")
        .input("proto/envelope.proto")
        .customize(protobuf_codegen::Customize::default().lite_runtime(true).generate_accessors(false).gen_mod_rs(true))
        .cargo_out_dir("proto")
        .run_from_script();
}
