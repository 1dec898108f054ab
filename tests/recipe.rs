//! # Recipes of a document
//!
//! The fenced blocks of a document, found by the section they stand in and their language.

use std::fs;

use crate::root;

/// A document with recipes.
pub struct Document {
    text: String,
}

impl Document {
    /// By its path in the repository.
    ///
    /// # Panics
    ///
    /// Where it cannot be read.
    #[must_use]
    pub fn read(path: &str) -> Self {
        let text = fs::read_to_string(root().join(path)).expect("the document");
        Self { text }
    }

    /// The only block of this language in a section.
    ///
    /// # Panics
    ///
    /// Where there is none, or another.
    #[must_use]
    pub fn block(&self, section: &str, language: &str) -> &str {
        let heading = format!("\n## {section}\n");
        let (_, rest) = self.text.split_once(&heading).expect(section);
        let rest = rest.split("\n## ").next().unwrap_or_default();
        let fence = format!("```{language}\n");
        let mut blocks = rest.split(&fence).skip(1);
        let block = blocks.next().and_then(|rest| rest.split_once("```"));
        let (block, _) = block.unwrap_or_else(|| panic!("no {language} in {section}"));
        assert!(blocks.next().is_none(), "several {language} in {section}");
        block
    }
}
