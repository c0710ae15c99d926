//! `holdfast-agent`: enrol this machine, run its agent, ask how it is.

mod cli;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    // The build has one provider, but rustls wants to be told when it could have had two.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(cli.execute()),
        Err(error) => Err(cli::Told(format!("error: the agent cannot start: {error}"))),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(cli::Told(text)) => {
            eprintln!("{text}");
            ExitCode::FAILURE
        }
    }
}
