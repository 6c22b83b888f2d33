//! [`Money`]: an exact decimal and the currency it is in.

use std::fmt;
use std::str::FromStr;

use rust_decimal::Decimal;

use crate::Invalid;

/// A currency of ISO 4217.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency(iso_currency::Currency);

impl Currency {
    /// Reads an alphabetic code, in any case, with blanks around it.
    pub fn parse(code: &str) -> Result<Currency, Invalid> {
        let code = code.trim().to_ascii_uppercase();
        iso_currency::Currency::from_code(&code)
            .map(Currency)
            .ok_or_else(|| Invalid::new(&code, "a currency code of ISO 4217 such as EUR"))
    }

    /// The alphabetic code, `EUR`.
    pub fn code(self) -> &'static str {
        self.0.code()
    }

    /// Digits behind the point that this currency has: 2 for EUR, 0 for JPY, 3 for BHD.
    pub fn decimals(self) -> u32 {
        self.0.exponent().map_or(0, u32::from)
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// An amount in a currency. Equal amounts are equal however many zeros they were written with.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Money {
    /// The amount, exact, at most 28 significant digits.
    pub amount: Decimal,
    /// The currency.
    pub currency: Currency,
}

impl Money {
    /// Reads an amount as systems write it: `1234.5`, `1e3`, `-7`. No grouping signs, no symbols.
    pub fn parse(amount: &str, currency: Currency) -> Result<Money, Invalid> {
        Ok(Money {
            amount: decimal(amount)?,
            currency,
        })
    }

    /// The amount with at least as many decimals as its currency has: `10.50`, `1050` for JPY, `0.125` stays.
    pub fn amount_text(&self) -> String {
        let mut amount = self.amount.normalize();
        if amount.scale() < self.currency.decimals() {
            amount.rescale(self.currency.decimals());
        }
        amount.to_string()
    }
}

impl fmt::Debug for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.amount_text(), self.currency.code())
    }
}

/// Reads an exact decimal; refuses what has more digits than fit, instead of rounding.
pub(crate) fn decimal(text: &str) -> Result<Decimal, Invalid> {
    let text = text.trim();
    let expected = "a decimal number with at most 28 digits";
    let exact = if text.contains(['e', 'E']) {
        Decimal::from_scientific(text)
    } else {
        Decimal::from_str_exact(text)
    };
    exact
        .or_else(|_| Decimal::from_str(text).ok().filter(|_| text.len() < 28).ok_or(()))
        .map_err(|()| Invalid::new(text, expected))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn money(amount: &str, code: &str) -> Money {
        Money::parse(amount, Currency::parse(code).unwrap()).unwrap()
    }

    #[test]
    fn keeps_every_digit() {
        assert_eq!(
            money("1234567890123456.78", "EUR").amount_text(),
            "1234567890123456.78"
        );
        assert_eq!(money("10.5", "EUR").amount_text(), "10.50");
        assert_eq!(money("1050", "JPY").amount_text(), "1050");
        assert_eq!(money("0.125", "EUR").amount_text(), "0.125");
        assert_eq!(money("1e3", "BHD").amount_text(), "1000.000");
        assert_eq!(money("10.50", "EUR"), money("10.5", " eur "));
    }

    #[test]
    fn refuses_what_is_no_amount() {
        let eur = Currency::parse("EUR").unwrap();
        for text in ["", "1,000.00", "€5", "NaN", "0.12345678901234567890123456789012"] {
            assert!(Money::parse(text, eur).is_err(), "{text}");
        }
        assert!(
            Currency::parse("EURO")
                .unwrap_err()
                .to_string()
                .contains("ISO 4217")
        );
    }

    proptest! {
        #[test]
        fn text_reads_back(mantissa in any::<i64>(), scale in 0u32..12) {
            let amount = Money { amount: Decimal::new(mantissa, scale), currency: Currency::parse("USD").unwrap() };
            prop_assert_eq!(Money::parse(&amount.amount_text(), amount.currency), Ok(amount));
        }
    }
}
