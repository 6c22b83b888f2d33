//! [`Preset`]: what partners in a common situation may know, so that nobody has to think of every field.
//!
//! A preset names each field; whatever is new or unknown is not in it. Never in one of them: what is thought about a sale
//! (`probability`, `lost_reason`, `description`, where competitors, margins and internal words stand), and a partner's tier.

use crate::{Allow, Bucket, PathPattern, Rules};

/// A common situation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// All there is, as it is.
    Everything,
    /// Before anything is agreed on: industry, country, what is needed, job titles. Nobody's name.
    Teaser,
    /// That there is a sale, with whom, how far it is, and in which quarter it closes.
    VisibilityOnly,
    /// With whom there is a sale, and whether it is open, won or lost.
    InfluenceMin,
    /// Selling together: amounts, products, next steps, our people, and, with consent, theirs.
    CoSell,
    /// Delivering what was sold: with addresses.
    Fulfilment,
}

/// What says which record an event is about; without it a receiver cannot tell two of them apart.
const WHICH: [&str; 4] = ["id", "version", "merged", "unmerged"];

const TEASER: &[&str] = &[
    "lead.company.industry",
    "lead.company.country",
    "lead.business_problem",
    "lead.contact.job_title",
    "deal.customer.country",
    "deal.contact.job_title",
    "partner.industry",
    "partner.headquarters.country",
    "partner.types",
];

const VISIBILITY: &[&str] = &[
    "lead.company.name",
    "lead.status",
    "deal.name",
    "deal.customer.name",
    "deal.stage",
    "deal.expected_close_date",
    "partner.display_name",
    "partner.status",
];

const INFLUENCE: &[&str] = &["lead.company.name", "deal.customer.name", "deal.stage"];

const CO_SELL: &[&str] = &[
    "lead.qualification",
    "lead.company.domain",
    "lead.company.website_url",
    "lead.company.city",
    "lead.company.subdivision",
    "lead.source.kind",
    "lead.estimated_value",
    "lead.partner",
    "lead.owner_email",
    "lead.contact",
    "deal.amount",
    "deal.closed_at",
    "deal.partner",
    "deal.customer.domain",
    "deal.customer.city",
    "deal.customer.subdivision",
    "deal.deal_type",
    "deal.origin",
    "deal.product_lines",
    "deal.next_steps",
    "deal.owner_email",
    "deal.contact",
    "partner.legal_name",
    "partner.kind",
    "partner.domain",
    "partner.website_url",
    "partner.headquarters.city",
    "partner.headquarters.subdivision",
    "partner.contact",
];

const FULFILMENT: &[&str] = &[
    "lead.company.street",
    "lead.company.postal_code",
    "deal.customer.street",
    "deal.customer.postal_code",
    "partner.email",
    "partner.phone",
    "partner.headquarters.street",
    "partner.headquarters.postal_code",
];

impl Preset {
    /// All of them, those that show least first.
    pub const ALL: [Preset; 6] = [
        Preset::Teaser,
        Preset::InfluenceMin,
        Preset::VisibilityOnly,
        Preset::CoSell,
        Preset::Fulfilment,
        Preset::Everything,
    ];

    /// The preset's word in the configuration and in what is told.
    pub fn word(self) -> &'static str {
        match self {
            Preset::Everything => "everything",
            Preset::Teaser => "teaser",
            Preset::VisibilityOnly => "visibility_only",
            Preset::InfluenceMin => "influence_min",
            Preset::CoSell => "co_sell",
            Preset::Fulfilment => "fulfilment",
        }
    }

    /// The preset of a word.
    pub fn parse(word: &str) -> Option<Preset> {
        Preset::ALL.into_iter().find(|preset| preset.word() == word)
    }

    /// What it shares.
    pub fn rules(self) -> Rules {
        let (lists, bucket): (&[&[&str]], _) = match self {
            Preset::Everything => return Rules::everything(),
            Preset::Teaser => (&[TEASER], None),
            Preset::VisibilityOnly => {
                let close = ("deal.expected_close_date", Bucket::Quarter);
                (&[TEASER, VISIBILITY], Some(close))
            }
            Preset::InfluenceMin => (&[INFLUENCE], Some(("deal.stage", Bucket::Outcome))),
            Preset::CoSell => (&[TEASER, VISIBILITY, CO_SELL], None),
            Preset::Fulfilment => (&[TEASER, VISIBILITY, CO_SELL, FULFILMENT], None),
        };
        let pattern = |path: &str| path.parse::<PathPattern>().expect("a preset's paths are paths");
        let allow = WHICH.iter().chain(lists.iter().copied().flatten());
        Rules {
            allow: Allow::Only(allow.map(|path| pattern(path)).collect()),
            bucket: bucket
                .into_iter()
                .map(|(path, bucket)| (pattern(path), bucket))
                .collect(),
            ..Rules::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Kind;

    /// The fields of records that a preset shows.
    fn shown(preset: Preset) -> Vec<String> {
        let fields = Kind::ALL
            .into_iter()
            .flat_map(|kind| kind.fields().map(move |field| format!("{kind}.{}", field.path)));
        fields.filter(|field| preset.rules().shares(field)).collect()
    }

    #[test]
    fn presets_name_fields_that_are_there_and_each_shows_what_those_below_it_show() {
        for preset in Preset::ALL {
            assert_eq!(Preset::parse(preset.word()), Some(preset));
            let Allow::Only(allow) = preset.rules().allow else {
                continue;
            };
            let fields: Vec<String> = Kind::ALL
                .into_iter()
                .flat_map(|kind| kind.fields().map(move |field| format!("{kind}.{}", field.path)))
                .collect();
            for pattern in &allow[WHICH.len()..] {
                assert!(
                    fields.iter().any(|field| pattern.touches(field)),
                    "{pattern} is no field"
                );
            }
        }
        for (less, more) in [
            (Preset::Teaser, Preset::VisibilityOnly),
            (Preset::InfluenceMin, Preset::VisibilityOnly),
            (Preset::VisibilityOnly, Preset::CoSell),
            (Preset::CoSell, Preset::Fulfilment),
        ] {
            let more = shown(more);
            assert!(shown(less).iter().all(|field| more.contains(field)), "{less:?}");
        }
    }

    #[test]
    fn no_preset_but_the_one_for_everything_shows_what_is_private() {
        for private in [
            "deal.probability",
            "deal.lost_reason",
            "deal.description",
            "partner.description",
            "partner.tier",
            "deal.margin",
            "deal.competitors",
            "deal.customer.notes",
            "lead.score",
            "lead.private_fields",
        ] {
            for preset in Preset::ALL {
                let everything = preset == Preset::Everything;
                assert_eq!(preset.rules().shares(private), everything, "{preset:?} {private}");
            }
        }
        let nobody = [
            "name",
            "email",
            "phone",
            "street",
            "domain",
            "website_url",
            "amount",
        ];
        let teased = shown(Preset::Teaser);
        assert!(
            !teased
                .iter()
                .any(|field| nobody.iter().any(|word| field.ends_with(word))),
            "{teased:?}"
        );
    }
}
