//! `openpista-wasm`, the program that WebAssembly guests run in.

fn main() -> std::process::ExitCode {
    openpista_shell_smol::guest::main()
}
