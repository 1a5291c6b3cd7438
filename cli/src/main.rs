//! The `granary` command; everything is in the library, so that tests can use it.

fn main() -> std::process::ExitCode {
    granary_cli::main()
}
