//! A kernel's configuration file.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

/// What an option is set to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Setting {
    /// `=y`
    BuiltIn,
    /// `=m`
    Module,
    /// `is not set`, or not mentioned.
    Off,
}

/// The `CONFIG_` options that are `y` or `m`.
#[derive(Debug, Default)]
pub struct Config(HashMap<String, Setting>);

impl Config {
    /// Reads a `.config` or `config-RELEASE` file.
    pub fn read(path: &Path) -> Option<Config> {
        fs::read_to_string(path).ok().map(|text| Config::parse(&text))
    }

    fn parse(text: &str) -> Config {
        let settings = text.lines().filter_map(|line| {
            let (option, value) = line.split_once('=')?;
            let setting = match value {
                "y" => Setting::BuiltIn,
                "m" => Setting::Module,
                _ => return None,
            };
            Some((option.to_owned(), setting))
        });
        Config(settings.collect())
    }

    /// The setting of an option like `CONFIG_EXT4_FS`.
    pub fn get(&self, option: &str) -> Setting {
        self.0.get(option).copied().unwrap_or(Setting::Off)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_have_three_settings() {
        let config = Config::parse("CONFIG_A=y\nCONFIG_B=m\n# CONFIG_C is not set\nCONFIG_D=\"y\"\n");
        assert_eq!(config.get("CONFIG_A"), Setting::BuiltIn);
        assert_eq!(config.get("CONFIG_B"), Setting::Module);
        assert_eq!(config.get("CONFIG_C"), Setting::Off);
        assert_eq!(config.get("CONFIG_D"), Setting::Off);
    }
}
