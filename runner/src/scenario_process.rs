//! The process of one scenario: finds it in the catalogue or among the selftests, runs it, prints what
//! happened.

use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use reports::budget::Budgets;
use reports::event::FailureKind;
use scenarios::context::Hooks;
use scenarios::kernel::KernelRelease;
use scenarios::kselftest::Selftest;
use scenarios::{Context, Scenario, Stop, catalogue};

/// What an id stands for.
enum Item {
    Scenario(&'static Scenario),
    Selftest(Selftest),
}

impl Item {
    fn find(id: &str) -> Option<Self> {
        let scenario = catalogue::find(id).map(Self::Scenario);
        scenario.or_else(|| Selftest::parse(id).map(Self::Selftest))
    }

    fn run(&self, context: &mut Context) -> Result<String, Stop> {
        match self {
            Self::Scenario(scenario) => catalogue::run(scenario, context),
            Self::Selftest(test) => crate::kselftest::run(context, test),
        }
    }
}

/// `scenario ID SEED BUDGETS-AS-JSON`; standard output carries one `ScenarioLine` a line.
pub(crate) fn main(arguments: &[String]) -> ExitCode {
    let [id, seed, budgets] = arguments else {
        eprintln!("runner: scenario: three arguments are needed: id, seed, budgets");
        return ExitCode::from(2);
    };
    let (Ok(seed), Ok(budgets)) = (seed.parse(), serde_json::from_str::<Budgets>(budgets)) else {
        eprintln!("runner: scenario: seed or budgets cannot be read");
        return ExitCode::from(2);
    };
    let Some(item) = Item::find(id) else {
        eprintln!("runner: scenario: there is no scenario `{id}`");
        return ExitCode::from(2);
    };
    let release = crate::init::kernel_release();
    let Some(kernel) = KernelRelease::parse(&release) else {
        eprintln!("runner: scenario: kernel release `{release}` cannot be read");
        return ExitCode::from(2);
    };
    let hooks = Hooks { segfault: crate::crash::segfault };
    let output: Box<dyn Write + Send> = Box::new(std::io::stdout());
    let mut context = Context::new(seed, budgets, kernel, hooks, output);
    let result = catch_unwind(AssertUnwindSafe(|| item.run(&mut context)));
    context.finish(result.unwrap_or_else(|panic| {
        let message = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("no message");
        Err(Stop::fail(FailureKind::Panic, format_args!("the scenario panicked: {message}")))
    }));
    // Threads that still wait for the kernel must not keep a finished scenario alive.
    std::process::exit(0)
}
